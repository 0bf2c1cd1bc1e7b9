import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { labGroups, parseHierarchies, pickCpus } from "../../../../infra/lab/nodes/cgroup.ts";
import { mountsBelow } from "../../../../infra/lab/nodes/cleanup.ts";
import { processStart } from "../../../../infra/lab/tools/process-start.ts";
import { ConsoleLog } from "../../../../infra/lab/nodes/console-log.ts";
import { isolated } from "../../../../infra/lab/nodes/isolation.ts";
import { parseInterfaces, tapName } from "../../../../infra/lab/nodes/network.ts";
import { aptSources, packagesFor, parseRelease, rootfsKey } from "../../../../infra/lab/nodes/rootfs.ts";

const dir = await mkdtemp(join(tmpdir(), "gk-host-"));
afterAll(() => rm(dir, { recursive: true }));

describe("cgroups", () => {
  test("go below this process's own group in each hierarchy of version 1", () => {
    const own = "9:name=systemd:/\n4:memory:/outer/inner\n2:cpu,cpuacct:/\n1:net_cls:/\n0::/\n";
    expect(parseHierarchies(own, ["systemd", "memory", "cpu,cpuacct", "cpu", "unified"])).toEqual([
      { base: "/sys/fs/cgroup/systemd", controllers: ["systemd"] },
      { base: "/sys/fs/cgroup/memory/outer/inner", controllers: ["memory"] },
      { base: "/sys/fs/cgroup/cpu,cpuacct", controllers: ["cpu", "cpuacct"] },
    ]);
  });

  test("are found by the lab's name, wherever they are, and those of a longer name are not", async () => {
    for (const path of ["memory/a/b/gorkheavy-one/201", "cpu/gorkheavy-one", "cpu/gorkheavy-one-more/gorkheavy-one"])
      await mkdir(join(dir, "cgroup", path), { recursive: true });
    expect((await labGroups("one", join(dir, "cgroup"))).sort()).toEqual([
      join(dir, "cgroup/cpu/gorkheavy-one"),
      join(dir, "cgroup/memory/a/b/gorkheavy-one"),
    ]);
  });

  test("pin a small machine to as many processors as it has", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 100, max: 999 }), (cores, vmId) => {
        const picked = pickCpus(vmId, cores, 64);
        expect(new Set(picked.filter((cpu) => cpu >= 0 && cpu < 64)).size).toBe(cores);
      }),
    );
  });
});

describe("network", () => {
  test("says what a guest agent would say", () => {
    const text =
      '[{"ifname":"eth0","address":"bc:24:11:00:02:01","addr_info":[{"family":"inet","local":"192.168.1.201","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64},{"family":"mpls"}]},{}]';
    expect(parseInterfaces(text)).toEqual([
      {
        name: "eth0",
        macAddress: "bc:24:11:00:02:01",
        addresses: [
          { address: "192.168.1.201", prefix: 24, family: "ipv4" },
          { address: "fe80::1", prefix: 64, family: "ipv6" },
        ],
      },
    ]);
    expect(parseInterfaces("")).toEqual([]);
  });

  test("names a card so that the kernel takes it, for the largest id too", () => {
    expect(tapName(201, 0)).toBe("tap201i0");
    expect(tapName(999_999_999, 9).length).toBeLessThanOrEqual(15);
  });
});

describe("isolation", () => {
  test("is a prefix: the command stays as it is, at the end", () => {
    const command = ["kubectl", "get", "po ds", "--", "$HOME"];
    expect(isolated("lab", command)).toEqual([...isolated("lab", []), ...command]);
    expect(isolated("lab", command).slice(0, 2)).toEqual(["nsenter", "--net=/run/netns/gorkheavy-lab"]);
  });

  test("ties a client to its starter, and the datacentre not", () => {
    expect(isolated("lab", [])).toContain("--pdeathsig");
    expect(isolated("lab", [], "datacentre")).not.toContain("--pdeathsig");
  });
});

describe("clean-up", () => {
  const mountinfo = ["/", "/state/lab", "/state/lab/a\\040b", "/state/laboratory", "/state/lab/a\\040b/c"]
    .map((point, id) => `${id} 1 0:1 / ${point} rw - ext4 /dev/a rw`)
    .join("\n");

  test("takes mounts of the directory and below, innermost first, and no neighbour's", () => {
    expect(mountsBelow(mountinfo, "/state/lab")).toEqual(["/state/lab/a b/c", "/state/lab/a b", "/state/lab"]);
  });

  test("knows a process by its start", async () => {
    const own = await processStart(process.pid);
    expect(own?.ticks).toBeGreaterThan(0);
    expect(own?.zombie).toBe(false);
    expect(await processStart(2 ** 30)).toBeUndefined();
  });
});

describe("console log", () => {
  test("never outgrows its limit by more than one chunk, and keeps what came last", async () => {
    const log = new ConsoleLog(join(dir, "console.log"), 100);
    for (let i = 0; i < 50; i += 1) log.write(`line ${String(i).padStart(3, "0")}\n`);
    const now = await readFile(join(dir, "console.log"), "utf8");
    const before = await readFile(join(dir, "console.log.1"), "utf8");
    expect(now.length).toBeLessThanOrEqual(100);
    expect(before.length).toBeLessThanOrEqual(100);
    expect((before + now).endsWith("line 048\nline 049\n")).toBe(true);
  });

  test("goes on where an earlier one ended", async () => {
    await writeFile(join(dir, "again.log"), "x".repeat(95));
    new ConsoleLog(join(dir, "again.log"), 100).write("1234567890");
    expect(await readFile(join(dir, "again.log"), "utf8")).toBe("1234567890");
  });
});

describe("root file system", () => {
  test("is made of the host's own release", () => {
    expect(
      parseRelease('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'),
    ).toEqual({ id: "debian", codename: "bookworm" });
    expect(parseRelease('VERSION_CODENAME="noble"\nID="ubuntu"\n')).toEqual({ id: "ubuntu", codename: "noble" });
  });

  test("says that another distribution's host will not do", () => {
    expect(() => parseRelease('ID=fedora\nPRETTY_NAME="Fedora Linux 42"\nVERSION_CODENAME=""\n')).toThrow(
      /"Fedora Linux 42".*Debian or Ubuntu/,
    );
    expect(() => parseRelease("")).toThrow(/Debian or Ubuntu/);
  });

  test("has another key for another release", () => {
    const keys = [rootfsKey({ id: "debian", codename: "bookworm" }), rootfsKey({ id: "ubuntu", codename: "noble" })];
    expect(new Set(keys).size).toBe(2);
    expect(keys[0]).toMatch(/^bookworm-[a-z0-9]+-[0-9a-f]{16}$/);
  });

  test("takes the resolver from where the release has it", () => {
    expect(packagesFor({ id: "debian", codename: "bookworm" })).toContain("systemd-resolved");
    expect(packagesFor({ id: "ubuntu", codename: "jammy" })).not.toContain("systemd-resolved");
  });

  test("asks the distribution's archive and no third party", async () => {
    const apt = join(dir, "apt");
    await mkdir(join(apt, "sources.list.d"), { recursive: true });
    await writeFile(join(apt, "sources.list"), "# deb http://a bookworm main\n");
    await writeFile(
      join(apt, "sources.list.d/debian.sources"),
      "Types: deb\nURIs: http://a\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
    );
    await writeFile(
      join(apt, "sources.list.d/docker.list"),
      "deb [signed-by=/etc/apt/keyrings/docker.asc] http://b bookworm main\n",
    );
    await writeFile(join(apt, "sources.list.d/backports.list"), "deb http://a bookworm-backports main\n");
    expect(await aptSources({ id: "debian", codename: "bookworm" }, apt)).toEqual([
      join(apt, "sources.list.d/debian.sources"),
    ]);
    expect(await aptSources({ id: "debian", codename: "bookworm" }, join(dir, "none"))).toEqual([]);
  });
});
