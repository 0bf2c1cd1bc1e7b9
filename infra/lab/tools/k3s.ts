import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "../images/archive.ts";
import type { Report } from "./cache.ts";
import { go } from "./go.ts";

/** The K3s version that the lab runs. The lab's own build says so too: upstream Kubernetes at the version that its go.mod pins, with K3s' suffix. */
export const K3S_VERSION = "v1.34.2+k3s1";

/** Where Kubernetes keeps the version that its programs print. Source: k8s.io/component-base/version/base.go. */
const VERSION_PACKAGE = "k8s.io/component-base/version";

/** The lab's own K3s: a Go module. */
const SOURCE = join(import.meta.dirname, "k3s");

/**
 * Builds the lab's own K3s into `dir/k3s`, and `dir/sha256sum-amd64.txt` beside it as K3s' releases have it.
 * Five minutes on two cores with an empty build cache, seconds after that.
 * @throws Error with the compiler's last lines
 */
export async function buildK3s(dir: string, report: Report): Promise<void> {
  const [major = "", minor = ""] = K3S_VERSION.slice(1).split(".");
  const values = {
    gitVersion: K3S_VERSION,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: "clean",
    gitCommit: "0000000000000000000000000000000000000000",
    buildDate: "1970-01-01T00:00:00Z",
  };
  const linked = Object.entries(values).map(([name, value]) => `-X ${VERSION_PACKAGE}.${name}=${value}`);
  const program = join(dir, "k3s");
  const flags = ["-mod=readonly", "-trimpath", "-ldflags", ["-s", "-w", ...linked].join(" ")];
  await go(["build", "-v", ...flags, "-o", program, "."], SOURCE, report, { CGO_ENABLED: "0" });
  await writeFile(join(dir, "sha256sum-amd64.txt"), `${await sha256(program)}  k3s\n`);
}
