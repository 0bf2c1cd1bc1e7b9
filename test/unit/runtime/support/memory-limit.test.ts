import { expect, test } from "vitest";
import { memoryLimit } from "../../../../runtime/support/memory-limit.ts";

const MACHINE = 16_000;

test.each<[string, Record<string, string>, number]>([
  ["no control groups", {}, MACHINE],
  [
    "version 2, in a container",
    { "/proc/self/cgroup": "0::/kubepods/pod1/c1\n", "/sys/fs/cgroup/memory.max": "2000\n" },
    2_000,
  ],
  ["version 2, no limit", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n" }, MACHINE],
  [
    "version 2, the tightest of nested groups",
    {
      "/proc/self/cgroup": "0::/a/b\n",
      "/sys/fs/cgroup/a/memory.max": "3000",
      "/sys/fs/cgroup/a/b/memory.max": "5000",
    },
    3_000,
  ],
  [
    "version 1",
    {
      "/proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1\n",
      "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "4000\n",
    },
    4_000,
  ],
  [
    "version 1, no limit",
    {
      "/proc/self/cgroup": "4:memory:/\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    },
    MACHINE,
  ],
  [
    "version 1, a group of another controller",
    { "/proc/self/cgroup": "4:pids:/\n", "/sys/fs/cgroup/memory.max": "1" },
    MACHINE,
  ],
])("%s", (_, files, bytes) => {
  expect(memoryLimit((path) => files[path], MACHINE)).toBe(bytes);
});

test("of this process is some memory", () => {
  expect(memoryLimit()).toBeGreaterThan(64 * 1024 ** 2);
});
