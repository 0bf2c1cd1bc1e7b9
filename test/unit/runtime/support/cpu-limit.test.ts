import { expect, test } from "vitest";
import { cpuLimit, threadsWithin } from "../../../../runtime/support/cpu-limit.ts";

const files =
  (all: Record<string, string>): ((path: string) => string | undefined) =>
  (path) =>
    all[path];

test.each<[string, Record<string, string>, number | undefined]>([
  ["version 2 in a container", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "90000 100000\n" }, 0.9],
  ["version 2 without a limit", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n" }, undefined],
  [
    "version 2, the tightest of nested groups",
    {
      "/proc/self/cgroup": "0::/kubepods/pod1/main\n",
      "/sys/fs/cgroup/kubepods/pod1/main/cpu.max": "max 100000",
      "/sys/fs/cgroup/kubepods/pod1/cpu.max": "150000 100000",
      "/sys/fs/cgroup/kubepods/cpu.max": "400000 100000",
    },
    1.5,
  ],
  [
    "version 1 in a container whose path is its host's",
    {
      "/proc/self/cgroup": "5:memory:/kubepods/pod1\n4:cpu,cpuacct:/kubepods/pod1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "60000\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    },
    0.6,
  ],
  [
    "version 1 without a limit",
    {
      "/proc/self/cgroup": "4:cpu,cpuacct:/\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    },
    undefined,
  ],
  ["no control groups", {}, undefined],
  ["what cannot be read", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "lots of it\n" }, undefined],
])("%s", (_, all, limit) => {
  expect(cpuLimit(files(all))).toBe(limit);
});

test.each([
  [0.9, 8, 1],
  [1, 8, 1],
  [2.5, 8, 2],
  [0.1, 8, 1],
  [16, 8, 8],
  [undefined, 8, 7],
  [undefined, 1, 1],
])("a limit of %s on %s CPUs is for %s threads", (limit, cpus, threads) => {
  expect(threadsWithin(limit, cpus)).toBe(threads);
});
