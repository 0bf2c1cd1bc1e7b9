import { createHash } from "node:crypto";
import { chmod, readFile, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildSystemImages } from "../images/system.ts";
import { cached, type Report } from "./cache.ts";
import { digestIn, download, downloadText, Unreachable } from "./download.ts";
import { goVersion } from "./go.ts";
import { buildK3s, K3S_VERSION } from "./k3s.ts";
import type { Resolved } from "./resolve.ts";

/** Source: https://docs.k3s.io/installation/airgap, "manually download the binary". */
const RELEASES = "https://github.com/k3s-io/k3s/releases/download";

/** K3s, its checksum list, and the container images of its own parts. */
export interface ResolvedK3s extends Resolved {
  /** `sha256sum` listing that names `k3s`. */
  checksums: string;
  /** Archive of the images that K3s itself runs, for a node without a registry. */
  systemImages: string;
}

const SYSTEM_IMAGES = "k3s-airgap-images-amd64.tar";

/**
 * K3s from its official release, else the lab's own, built from upstream Kubernetes' Go modules.
 * @param options.releases where releases are downloaded from; tests name a server of their own
 */
export async function resolveK3s(
  report: Report,
  options: { releases?: string; cacheRoot?: string } = {},
): Promise<ResolvedK3s> {
  const started = Date.now();
  const base = options.releases ?? RELEASES;
  let source: Resolved["source"] = "cache";
  const key = `${K3S_VERSION.replace("+", "-")}-${await sourceDigest()}`;
  const entry = await cached(
    "k3s",
    key,
    async (dir, say, scratch) => {
      try {
        await fromRelease(dir, scratch, say, base);
        source = "release";
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        say(`official release not reachable (${new URL(base).host}): building the lab's own from source`);
        await goVersion();
        await buildK3s(dir, say);
        await buildSystemImages(dir, say);
        source = "built";
      }
    },
    { report, root: options.cacheRoot },
  );
  return {
    name: "k3s",
    path: join(entry.dir, "k3s"),
    checksums: join(entry.dir, "sha256sum-amd64.txt"),
    systemImages: join(entry.dir, SYSTEM_IMAGES),
    version: K3S_VERSION,
    source,
    ms: Date.now() - started,
  };
}

async function fromRelease(dir: string, scratch: string, report: Report, base: string): Promise<void> {
  const from = `${base}/${encodeURIComponent(K3S_VERSION)}`;
  const listing = await downloadText(`${from}/sha256sum-amd64.txt`);
  await writeFile(join(dir, "sha256sum-amd64.txt"), listing);
  for (const file of ["k3s", SYSTEM_IMAGES]) {
    const partial = join(scratch, file);
    await download(`${from}/${file}`, partial, { sha256: digestIn(listing, file), report });
    await rename(partial, join(dir, file));
  }
  await chmod(join(dir, "k3s"), 0o755);
}

/** Digest of the lab's own K3s sources: a change of them is another version of what is kept. */
async function sourceDigest(): Promise<string> {
  const hash = createHash("sha256");
  const root = join(import.meta.dirname, "k3s");
  const names = (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((e) => e.isFile() && !e.name.endsWith("_test.go"))
    .map((e) => join(e.parentPath, e.name));
  for (const file of names.sort()) hash.update(file.slice(root.length)).update(await readFile(file));
  for (const file of [join(import.meta.dirname, "k3s.ts"), join(import.meta.dirname, "../images/system.ts")])
    hash.update(await readFile(file));
  return hash.digest("hex").slice(0, 12);
}
