import fc from "fast-check";
import { expect, test } from "vitest";
import {
  cpuList,
  cpuMask,
  guestSysFiles,
  renderCpuinfo,
  renderGuestInit,
  renderMeminfo,
} from "../../../../infra/lab/nodes/guest-view.ts";

test("shows the machine's memory, not the host's", () => {
  expect(renderMeminfo(8192, 0, 0)).toMatch(
    /^MemTotal: +8388608 kB\nMemFree: +8388608 kB\nMemAvailable: +8388608 kB\n/,
  );
  expect(renderMeminfo(10240, 1024 ** 3, 512 * 1024 ** 2)).toMatch(/MemFree: +9437184 kB\nMemAvailable: +9961472 kB\n/);
});

test("keeps its length whatever is in use, so that it can be rewritten under its readers", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.nat(2 ** 45), fc.nat(2 ** 45), (mib, used, cache) => {
      const text = renderMeminfo(mib, used, cache);
      const value = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(text)?.[1]);
      expect(text.length).toBe(renderMeminfo(512, 0, 0).length);
      expect(value("MemAvailable")).toBeLessThanOrEqual(value("MemTotal"));
      expect(value("MemFree")).toBeLessThanOrEqual(value("MemAvailable"));
    }),
  );
});

const TWO =
  "processor\t: 0\nmodel name\t: CPU\nphysical id\t: 0\nsiblings\t: 2\ncore id\t\t: 0\ncpu cores\t: 2\nflags\t\t: a: b\n\nprocessor\t: 1\nmodel name\t: CPU\n\n";

test("shows as many processors as the machine has", () => {
  const text = renderCpuinfo(TWO, 4);
  expect(text.match(/^processor\t: (\d)$/gm)).toEqual([
    "processor\t: 0",
    "processor\t: 1",
    "processor\t: 2",
    "processor\t: 3",
  ]);
  expect(text.match(/^core id\t\t: 3$/m)).toHaveLength(1);
  expect(text.match(/^siblings\t: 4$/gm)).toHaveLength(4);
  expect(text.match(/^flags\t\t: a: b$/gm)).toHaveLength(4);
});

test("gives every processor a core of its own on one socket", () => {
  const { files, links } = guestSysFiles({ cores: 4, memoryMib: 8192 });
  expect(files.get("cpu/online")).toBe("0-3\n");
  expect([0, 1, 2, 3].map((cpu) => files.get(`cpu/cpu${cpu}/topology/core_id`))).toEqual(["0\n", "1\n", "2\n", "3\n"]);
  expect(files.get("cpu/cpu2/topology/core_siblings")).toBe("f\n");
  expect(links.get("node/node0/cpu3")).toBe("../../cpu/cpu3");
  expect(files.get("node/node0/meminfo")).toContain("MemTotal:       8388608 kB");
});

test("writes sets of processors as the kernel does", () => {
  expect([cpuList(1), cpuList(4)]).toEqual(["0", "0-3"]);
  expect([cpuMask([0, 1, 2, 3]), cpuMask([32]), cpuMask([])]).toEqual(["f", "00000001,00000000", "0"]);
});

test("covers what K3s' protect-kernel-defaults looks at", () => {
  const script = renderGuestInit();
  for (const name of ["vm", "kernel/keys", "kernel/panic", "kernel/panic_on_oops"])
    expect(script).toMatch(new RegExp(`for name in .*\\b${name}\\b`));
  expect(script.trimEnd().split("\n").at(-1)).toMatch(/^exec \/lib\/systemd\/systemd/);
});
