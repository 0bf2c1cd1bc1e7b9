import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import type { Report } from "./cache.ts";

/** A source could not be reached at all (no route, refused, a gateway's 4xx/5xx): worth going on to the next source. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/** How long a host may take to answer the first byte before the next source is tried, ms. */
const ANSWER_TIMEOUT_MS = 10_000;
const STALL_TIMEOUT_MS = 60_000;
const ATTEMPTS = 4;

/**
 * Downloads `url` to `path`, going on where an earlier try of any process stopped, and checks it.
 * The file appears under its name only when it is whole and right; until then it is `path.partial`.
 *
 * @param options.sha256 lower-case hex; a file that differs is removed and the call fails
 * @throws Unreachable when nothing answers; Error naming both digests on a wrong file
 */
export async function download(
  url: string,
  path: string,
  options: { sha256?: string; report?: Report; answerTimeoutMs?: number } = {},
): Promise<void> {
  const partial = `${path}.partial`;
  let lastError: unknown;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const before = await sizeOf(partial);
    try {
      await fetchRest(url, partial, options);
      await check(url, partial, options.sha256);
      await rename(partial, path);
      return;
    } catch (error) {
      if (error instanceof Unreachable || error instanceof WrongDigest) throw error;
      lastError = error;
      options.report?.(
        `${url}: ${describe(error)}; going on from ${await sizeOf(partial)} bytes (try ${attempt} of ${ATTEMPTS})`,
      );
      // A try that brought something does not count against the source.
      if ((await sizeOf(partial)) > before) attempt = Math.min(attempt, ATTEMPTS - 1);
    }
  }
  throw new Error(
    `${url}: download failed after ${ATTEMPTS} tries (${describe(lastError)}). Run the command again: it goes on where it stopped.`,
  );
}

/** The text of a small file at `url`. @throws Unreachable */
export async function downloadText(url: string, options: { answerTimeoutMs?: number } = {}): Promise<string> {
  const response = await reach(url, {}, AbortSignal.timeout(options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS));
  if (!response.ok) throw new Unreachable(`${url}: HTTP ${response.status}`);
  return response.text();
}

/** The digest of `file` in a `sha256sum` listing. @throws Error when the listing does not name it exactly once */
export function digestIn(listing: string, file: string): string {
  const digests = listing.split("\n").flatMap((line) => {
    const match = /^([0-9a-f]{64})[ *]+(?:\.\/)?(.+)$/.exec(line.trim());
    return match?.[1] !== undefined && match[2] === file ? [match[1]] : [];
  });
  const [digest, ...others] = digests;
  if (digest === undefined || others.length > 0)
    throw new Error(`checksum list: names ${file} ${digests.length} times, expected once`);
  return digest;
}

class WrongDigest extends Error {
  override readonly name = "WrongDigest";
}

async function fetchRest(
  url: string,
  partial: string,
  options: { report?: Report; answerTimeoutMs?: number },
): Promise<void> {
  const have = await sizeOf(partial);
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(new Error("no answer")), options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS);
  try {
    const response = await reach(url, have > 0 ? { range: `bytes=${have}-` } : {}, abort.signal);
    if (response.status === 416) {
      // Nothing after what is here: whole, or from another file; the digest tells.
      return;
    }
    if (!response.ok || !response.body) throw new Unreachable(`${url}: HTTP ${response.status}`);
    const resumed = response.status === 206;
    const total = Number(response.headers.get("content-length") ?? Number.NaN) + (resumed ? have : 0);
    const file = await open(partial, resumed ? "a" : "w");
    let written = resumed ? have : 0;
    let told = Date.now();
    try {
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(new Error("stalled")), STALL_TIMEOUT_MS);
        await file.write(chunk);
        written += chunk.byteLength;
        if (Date.now() - told > 2000) {
          options.report?.(`${mib(written)} of ${Number.isNaN(total) ? "?" : mib(total)} MiB`);
          told = Date.now();
        }
      }
    } finally {
      await file.close();
    }
    if (!Number.isNaN(total) && written !== total) throw new Error(`connection ended at ${written} of ${total} bytes`);
  } finally {
    clearTimeout(timer);
  }
}

async function reach(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { headers, signal, redirect: "follow" });
  } catch (error) {
    throw new Unreachable(`${url}: ${describe(error)}`, { cause: error });
  }
}

async function check(url: string, partial: string, expected: string | undefined): Promise<void> {
  if (expected === undefined) return;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
  const actual = hash.digest("hex");
  if (actual === expected) return;
  await rm(partial, { force: true });
  throw new WrongDigest(
    `${url}: sha256 is ${actual}, expected ${expected}. The file was thrown away; check the pinned digest or the source.`,
  );
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (s) => s.size,
    () => 0,
  );
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0);
}
