import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { checkRequirements, type Host, readRequirements } from "../../../../infra/lab/nodes/requirements.ts";

const good: Host = {
  platform: "linux",
  uid: 0,
  dir: tmpdir(),
  usedBefore: false,
  freeDiskBytes: async () => 100 * 1024 ** 3,
  memoryBytes: async () => 16 * 1024 ** 3,
  has: async () => true,
  probe: async () => undefined,
  readText: async (path) =>
    path === "/proc/self/cgroup"
      ? "4:memory:/\n3:pids:/\n1:cpu,cpuacct:/\n"
      : path.includes("inotify")
        ? "128\n"
        : undefined,
};

async function missing(change: Partial<Host>): Promise<string> {
  const findings = await readRequirements(tmpdir(), { ...good, ...change });
  return findings
    .filter(({ ok }) => !ok)
    .map(({ what, fix }) => `${what} -> ${fix}`)
    .join("\n");
}

test("finds nothing wrong with a host that has it all", async () => {
  expect(await missing({})).toBe("");
  await expect(checkRequirements(tmpdir(), good)).resolves.toBeUndefined();
});

test("takes version 2 of cgroups as well", async () => {
  expect(
    await missing({
      readText: async (path) => (path.endsWith("cgroup.controllers") ? "cpuset cpu io memory pids" : "0::/"),
    }),
  ).toBe("");
});

test.each<[string, Partial<Host>, RegExp]>([
  ["another system", { platform: "darwin" }, /operating system: darwin -> .*Linux/],
  ["a plain user", { uid: 1000 }, /user: id 1000 -> run it as root/],
  [
    "no nspawn",
    { has: async (program) => program !== "systemd-nspawn" },
    /systemd-nspawn: not found -> apt-get install systemd-container/,
  ],
  [
    "no namespaces",
    { probe: async () => "unshare failed: Operation not permitted" },
    /namespaces: refused \(unshare failed.*--privileged/,
  ],
  [
    "no overlays",
    { probe: async (argv) => (argv.join(" ").includes("overlay") ? "wrong fs type" : undefined) },
    /overlays at .*: wrong fs type -> .*XDG_STATE_HOME/,
  ],
  [
    "no bridges",
    { probe: async (argv) => (argv.join(" ").includes("bridge") ? "Unknown device type" : undefined) },
    /network: Unknown device type -> .*modprobe bridge/,
  ],
  ["no memory controller", { readText: async () => "1:cpu:/\n2:pids:/" }, /cgroups: no memory -> .*\/sys\/fs\/cgroup/],
  [
    "few inotify instances",
    { readText: async (path) => (path.includes("inotify") ? "64" : good.readText(path)) },
    /inotify instances: 64 -> .*max_user_instances=512/,
  ],
  ["a full disk", { freeDiskBytes: async () => 1024 ** 3 }, /free disk at .*: 1\.0 GiB -> the lab needs 12\.0 GiB/],
  [
    "a disk that the caches have filled",
    { usedBefore: true, freeDiskBytes: async () => 3 * 1024 ** 3 },
    /3\.0 GiB -> the lab needs 4\.0 GiB/,
  ],
  ["little memory", { memoryBytes: async () => 2 * 1024 ** 3 }, /memory: 2\.0 GiB -> the lab needs 6\.0 GiB/],
])("names %s and what to do", async (_what, change, message) => {
  expect(await missing(change)).toMatch(message);
});

test("lists everything that is missing in one error", async () => {
  const host = { ...good, freeDiskBytes: async () => 0, memoryBytes: async () => 0 };
  await expect(checkRequirements(tmpdir(), host)).rejects.toThrow(/free disk(.|\n)*memory/);
});
