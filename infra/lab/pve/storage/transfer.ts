import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, open, rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { Agent, fetch } from "undici";
import type { Response } from "undici";
import { badParameters, errorText, failure } from "../api-error.ts";
import type { Upload } from "../http/upload.ts";
import type { TaskContext } from "../tasks.ts";
import type { ContentType } from "./datastore.ts";
import { readQcow2VirtualSize } from "./qcow2.ts";

/** Checksums that Proxmox can compare (PVE::Tools, get_file_hash). */
export const CHECKSUM_ALGORITHMS = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] as const;
/** Compressions that a download may have. */
export const COMPRESSIONS = ["gz", "zst"] as const;

/** What a file's bytes must add up to. */
export interface Checksum {
  algorithm: (typeof CHECKSUM_ALGORITHMS)[number];
  value: string;
}

/** Waits for a server's first byte, ms. */
const CONNECT_TIMEOUT_MS = 30_000;
/** A download that brings nothing for this long has failed, ms. */
const STALL_TIMEOUT_MS = 120_000;
const STRICT = new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS }, bodyTimeout: STALL_TIMEOUT_MS });
/** For `verify-certificates=0`, which a request has to ask for by name. */
const LENIENT = new Agent({
  connect: { timeout: CONNECT_TIMEOUT_MS, rejectUnauthorized: false },
  bodyTimeout: STALL_TIMEOUT_MS,
});

/**
 * The name that a file is stored under: its last part, with characters that Proxmox does not allow replaced, and an ending that fits the content.
 * @throws ApiError 400 `errors.filename`
 */
export function contentFileName(content: ContentType, filename: string): string {
  const name = (filename.split("/").at(-1) ?? "").replace(/[^-a-zA-Z0-9_.+=]/g, "_");
  const endings: Partial<Record<ContentType, RegExp>> = {
    iso: /\.(iso|img)$/i,
    vztmpl: /\.tar\.(gz|xz|zst|bz2)$/i,
    import: /^[a-zA-Z0-9][-a-zA-Z0-9.+=_]*\.(qcow2|raw|vmdk|ova)$/,
  };
  const wanted = endings[content];
  if (wanted === undefined) throw badParameters({ content: `upload content type '${content}' not allowed` });
  if (name.length > 255 || name.startsWith(".") || !wanted.test(name)) {
    throw badParameters({
      filename: content === "import" ? "invalid filename or wrong extension" : "wrong file extension",
    });
  }
  return name;
}

/** Name, size and type of what a URL serves. @throws ApiError 500 `invalid server response: '404 Not Found'` */
export async function probeUrl(url: string, verifyCertificates: boolean): Promise<Record<string, unknown>> {
  const response = await request(url, "HEAD", verifyCertificates, AbortSignal.timeout(CONNECT_TIMEOUT_MS));
  if (!response.ok) throw failure(`invalid server response: '${response.status} ${response.statusText}'`);
  const length = response.headers.get("content-length");
  const disposition = /filename="?([^";]+)"?/.exec(response.headers.get("content-disposition") ?? "")?.[1];
  return {
    filename: disposition ?? decodeURIComponent(new URL(response.url).pathname.split("/").at(-1) ?? ""),
    size: length === null ? undefined : Number(length),
    mimetype: response.headers.get("content-type")?.split(";")[0]?.trim(),
  };
}

async function request(
  url: string,
  method: "GET" | "HEAD",
  verifyCertificates: boolean,
  signal: AbortSignal,
): Promise<Response> {
  const dispatcher = verifyCertificates ? STRICT : LENIENT;
  try {
    return await fetch(url, { method, dispatcher, signal, redirect: "follow" });
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? errorText(error.cause) : errorText(error);
    throw failure(`cannot reach ${new URL(url).host}: ${cause}`);
  }
}

/** A file to fetch. */
export interface DownloadOrder {
  url: string;
  /** Where it goes, absolute. It appears there whole or not at all. */
  path: string;
  checksum: Checksum | undefined;
  compression: (typeof COMPRESSIONS)[number] | undefined;
  verifyCertificates: boolean;
}

/** Fetches a file. One that is there already is fine when its checksum is the one wanted, else it is refused. @throws Error whose text ends the task */
export async function download(order: DownloadOrder, { log, signal }: TaskContext): Promise<void> {
  if (await exists(order.path)) {
    if (order.checksum === undefined) throw failure(`refusing to override existing file '${order.path}'`);
    await assertChecksum(order.path, order.checksum);
    log("OK, got correct file already, no need to download");
    return;
  }
  log(`downloading ${new URL(order.url).origin} to ${order.path}`);
  const draft = `${order.path}.tmp_dwnl.${process.pid}`;
  try {
    const response = await request(order.url, "GET", order.verifyCertificates, signal);
    if (!response.ok || response.body === null)
      throw failure(`download failed: invalid server response: '${response.status} ${response.statusText}'`);
    const file = await open(draft, "wx", 0o600);
    const target = file.createWriteStream();
    if (order.compression === undefined || order.checksum !== undefined)
      await pipeline(response.body, target, { signal });
    else await pipeline(response.body, decompressor(order.compression), target, { signal });
    if (order.checksum !== undefined) {
      await assertChecksum(draft, order.checksum);
      log(`checksum verified (${order.checksum.algorithm})`);
      if (order.compression !== undefined) await decompressInPlace(draft, order.compression);
    }
    await assertImage(draft, order.path);
    await rename(draft, order.path);
    log("download finished");
  } finally {
    await rm(draft, { force: true });
  }
}

function decompressor(
  compression: (typeof COMPRESSIONS)[number],
): ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress> {
  return compression === "gz" ? createGunzip() : createZstdDecompress();
}

/** The checksum is that of what was sent, so it is taken before the file is unpacked. */
async function decompressInPlace(path: string, compression: (typeof COMPRESSIONS)[number]): Promise<void> {
  const unpacked = `${path}.unpacked`;
  try {
    const file = await open(unpacked, "wx", 0o600);
    await pipeline(createReadStream(path), decompressor(compression), file.createWriteStream());
    await rename(unpacked, path);
  } finally {
    await rm(unpacked, { force: true });
  }
}

/** Puts an uploaded file in its place; one of that name is replaced, as Proxmox does. @throws Error whose text ends the task */
export async function store(
  upload: Upload,
  path: string,
  checksum: Checksum | undefined,
  { log }: TaskContext,
): Promise<void> {
  try {
    log(`starting file import from: ${upload.path}`);
    log(`target file: ${path}`);
    if (checksum !== undefined) {
      await assertChecksum(upload.path, checksum);
      log(`checksum verified (${checksum.algorithm})`);
    }
    await assertImage(upload.path, path);
    await rename(upload.path, path);
    log(`file size is: ${upload.sizeBytes}`);
    log("finished file import successfully");
  } finally {
    await rm(upload.path, { force: true });
  }
}

async function assertChecksum(path: string, checksum: Checksum): Promise<void> {
  const hash = createHash(checksum.algorithm);
  await pipeline(createReadStream(path), hash);
  const got = hash.digest("hex");
  if (got !== checksum.value.toLowerCase())
    throw failure(`checksum mismatch: got '${got}' != expect '${checksum.value}'`);
}

/** A file that is called an image must be one, or a VM made of it would not boot. @param target name that it will have */
async function assertImage(path: string, target: string): Promise<void> {
  if (target.endsWith(".qcow2") && (await readQcow2VirtualSize(path)) === undefined) {
    throw failure(`'${target.split("/").at(-1) ?? target}' is not in format 'qcow2'`);
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
