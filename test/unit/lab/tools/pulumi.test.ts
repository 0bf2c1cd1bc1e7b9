import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createReleaseServer } from "../../../../infra/lab/release/server.ts";
import { PULUMI_VERSION, resolvePulumi } from "../../../../infra/lab/tools/pulumi.ts";

let dir: string;
let server: Server;
let files: Record<string, string>;
let releases: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pulumi-test-"));
  files = {};
  server = createReleaseServer({ files: async () => files });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  releases = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.close();
  await rm(dir, { recursive: true, force: true });
});

/** Puts a release of the form that Pulumi publishes on the server. */
async function publish(sha256?: string): Promise<void> {
  await mkdir(join(dir, "pulumi"));
  await writeFile(join(dir, "pulumi/pulumi"), "#!/bin/sh\necho the released one\n", { mode: 0o755 });
  const file = `pulumi-v${PULUMI_VERSION}-linux-${process.arch === "arm64" ? "arm64" : "x64"}.tar.gz`;
  await execa("tar", ["-czf", join(dir, file), "-C", dir, "pulumi"]);
  const digest =
    sha256 ??
    createHash("sha256")
      .update(await readFile(join(dir, file)))
      .digest("hex");
  await writeFile(join(dir, "checksums"), `${digest}  ${file}\n`);
  files = { [`/${file}`]: join(dir, file), [`/pulumi-${PULUMI_VERSION}-checksums.txt`]: join(dir, "checksums") };
}

const resolve = () => resolvePulumi(() => {}, { releases, searchPath: false, cacheRoot: join(dir, "cache") });

test("takes the official release when it can be reached, and keeps it", async () => {
  await publish();
  const first = await resolve();
  expect([first.source, first.version]).toEqual(["release", PULUMI_VERSION]);
  expect((await execa(first.path)).stdout).toBe("the released one");
  files = {};
  expect((await resolve()).source).toBe("cache");
});

test("refuses a release whose digest is not the published one, and builds nothing in its place", async () => {
  await publish("0".repeat(64));
  await expect(resolve()).rejects.toThrow(/sha256 is [0-9a-f]{64}, expected 0{64}/);
});
