import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { cached, type Report } from "./cache.ts";
import { digestIn, download, downloadText, Unreachable } from "./download.ts";
import { go, goVersion } from "./go.ts";
import type { Resolved } from "./resolve.ts";

/** The Pulumi engine and CLI that the lab uses; the same version as the SDK in package.json. */
export const PULUMI_VERSION = "3.250.0";
/** Oldest CLI on PATH that is taken as it is: the first release line with everything that the lab's automation calls. */
const OLDEST_ON_PATH_MINOR = 200;
/** Source: the download links of https://www.pulumi.com/docs/install/versions/ */
const RELEASES = "https://get.pulumi.com/releases/sdk";

/**
 * The `pulumi` command: from PATH, else the official release, else built from the Go module proxy.
 * @param options.releases where releases are downloaded from; tests name a server of their own
 */
export async function resolvePulumi(
  report: Report,
  options: { releases?: string; searchPath?: boolean; cacheRoot?: string } = {},
): Promise<Resolved> {
  const started = Date.now();
  if (options.searchPath !== false) {
    const found = await onPath();
    if (found) return { name: "pulumi", ...found, source: "PATH", ms: Date.now() - started };
  }
  let source: Resolved["source"] = "cache";
  const entry = await cached(
    "pulumi",
    PULUMI_VERSION,
    async (dir, say, scratch) => {
      try {
        await fromRelease(dir, scratch, say, options.releases ?? RELEASES);
        source = "release";
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        say(`official release not reachable (${new URL(options.releases ?? RELEASES).host}): building from source`);
        await fromModules(dir, say);
        source = "built";
      }
    },
    { report, root: options.cacheRoot },
  );
  return { name: "pulumi", path: join(entry.dir, "pulumi"), version: PULUMI_VERSION, source, ms: entry.ms };
}

async function onPath(): Promise<{ path: string; version: string } | undefined> {
  const home = await mkdtemp(join(tmpdir(), "gorkheavy-pulumi-"));
  try {
    const { stdout } = await execa("pulumi", ["version"], {
      // It keeps logs under its home: not under the user's.
      env: { PULUMI_SKIP_UPDATE_CHECK: "true", PULUMI_HOME: home, HOME: home },
      timeout: 10_000,
    });
    const match = /^v?(3\.(\d+)\.\S+)/.exec(stdout.trim());
    if (!match?.[1] || Number(match[2]) < OLDEST_ON_PATH_MINOR) return undefined;
    const { stdout: path } = await execa("sh", ["-c", "command -v pulumi"]);
    return { path, version: match[1] };
  } catch {
    return undefined;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function fromRelease(dir: string, scratch: string, report: Report, releases: string): Promise<void> {
  const platform = process.arch === "arm64" ? "linux-arm64" : "linux-x64";
  const file = `pulumi-v${PULUMI_VERSION}-${platform}.tar.gz`;
  const sha256 = digestIn(await downloadText(`${releases}/pulumi-${PULUMI_VERSION}-checksums.txt`), file);
  const archive = join(scratch, file);
  await download(`${releases}/${file}`, archive, { sha256, report });
  const unpacked = join(scratch, "unpacked");
  await mkdir(unpacked, { recursive: true });
  await execa("tar", ["-xzf", archive, "-C", unpacked, "pulumi/pulumi"]);
  await rename(join(unpacked, "pulumi", "pulumi"), join(dir, "pulumi"));
  await rm(unpacked, { recursive: true });
}

async function fromModules(dir: string, report: Report): Promise<void> {
  await goVersion();
  const version = `-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=${PULUMI_VERSION}`;
  await go(
    [
      "build",
      "-v",
      "-mod=readonly",
      "-trimpath",
      "-ldflags",
      `-s -w ${version}`,
      "-o",
      join(dir, "pulumi"),
      "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    ],
    join(import.meta.dirname, "pulumi"),
    report,
  );
}
