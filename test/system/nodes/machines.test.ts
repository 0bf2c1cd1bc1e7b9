import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { labProcesses } from "../../../infra/lab/nodes/cleanup.ts";
import { isolated } from "../../../infra/lab/nodes/isolation.ts";
import {
  createLabNetwork,
  labNamespaceExists,
  labNetworkExists,
  namespacePath,
  removeLabNetwork,
} from "../../../infra/lab/nodes/network.ts";
import { type HostState, readHost, readRemains } from "../../support/host.ts";
import { MachineLab } from "./test-lab.ts";

const lab = await MachineLab.create("gktestnodes");
const NUMBERS = [1, 2, 3];
let host: HostState;

/** Every sysctl of the host that nothing but a person changes. */
async function allSysctls(): Promise<string[]> {
  const { stdout } = await execa("sysctl", ["--all"], { reject: false });
  const volatile =
    /random\.|_count|\.nr_|-nr|-state|ns_last_pid|file-nr|dentry|inode|pty\.nr|random|cdrom|\.tainted|sched_domain|netdev_rss_key|route\.flush|fscache|quota\.syncs|stat_refresh|drop_caches|compact_memory/;
  return stdout.split("\n").filter((line) => !volatile.test(line));
}

/** The host, without the pins that make labs' networks reachable by name, and without the user's files, which machines never see. */
async function hostWithoutPins(): Promise<HostState> {
  const state = await readHost();
  return { ...state, mounts: state.mounts.filter((line) => !line.includes(" /run/netns/gorkheavy-")), homeFiles: [] };
}

async function remains() {
  return readRemains(lab.name, [lab.stateDir]);
}

const NOTHING = { processes: [], mounts: [], namespaces: [], cgroups: [], files: [] };

beforeAll(async () => {
  await lab.sweep();
  host = await hostWithoutPins();
});
afterAll(() => lab.remove());

describe.sequential("three machines", () => {
  let sysctls: string[];
  const bootIds = new Map<number, string>();

  test("boot together and answer to SSH with the keys of their seeds", async () => {
    sysctls = await allSysctls();
    await lab.open();
    await Promise.all(NUMBERS.map((number) => lab.ask("start", lab.spec(number))));
    const times = await Promise.all(NUMBERS.map((number) => lab.sshUp(number)));
    console.log(`boot to SSH: ${times.join(", ")} ms`);
    for (const number of NUMBERS) {
      const { stdout, all } = await lab.ssh(
        number,
        "hostname; sudo cloud-init status --wait | tr -d '.\\n'; echo; cat /proc/sys/kernel/random/boot_id; systemctl --failed --no-legend",
      );
      expect(stdout.split("\n").slice(0, 2), all).toEqual([`node-${number}`, "status: done"]);
      expect(stdout.split("\n")).toHaveLength(3);
      // Once it answers it goes on answering: the first boot does not restart it.
      const listening = "sudo journalctl --unit=ssh --no-pager --output=cat | grep -c 'listening on 0.0.0.0 port 22'";
      expect((await lab.ssh(number, listening)).stdout).toBe("1");
      bootIds.set(number, stdout.split("\n")[2] ?? "");
    }
    expect(new Set(bootIds.values()).size).toBe(3);
  });

  test("are refused when another machine answers in their place", async () => {
    const known = (await readFile(join(lab.dir, "known_hosts"), "utf8"))
      .replaceAll("192.168.1.201", "192.168.1.202x")
      .replaceAll("192.168.1.203", "192.168.1.201");
    await writeFile(join(lab.dir, "wrong_hosts"), known);
    const { exitCode, all } = await lab.ssh(1, "touch /tmp/came-in", "wrong_hosts");
    expect(exitCode).toBe(255);
    expect(all).toMatch(/host key .*changed|verification failed/i);
    expect((await lab.ssh(1, "ls /tmp/came-in")).exitCode).toBe(2);
  });

  test("reach each other and no host outside", async () => {
    expect((await lab.ssh(1, "ping -c 1 -W 2 192.168.1.203")).exitCode).toBe(0);
    expect((await lab.ssh(1, "ip -4 route show default")).stdout).toContain("via 192.168.1.1 dev eth0");
    expect((await lab.ssh(1, "ping -c 1 -W 1 192.0.2.1")).exitCode).not.toBe(0);
  });

  test("have the size of their VM", async () => {
    const { stdout } = await lab.ssh(
      1,
      "grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; ls -d /sys/devices/system/node/node0/cpu? | wc -l; tail -n +2 /proc/swaps | wc -l",
    );
    expect(stdout.split("\n")).toEqual([expect.stringMatching(/^MemTotal: +8388608 kB$/), "4", "0-3", "4", "0"]);
    const limit = await lab.ssh(
      1,
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
    );
    // With version 2 the limit is one level above what the machine can see.
    expect(["8589934592", "max"]).toContain(limit.stdout);
  });

  test("see their own cgroups and nobody else's", async () => {
    const paths = (await lab.ssh(1, "cat /proc/1/cgroup")).stdout;
    expect(paths).not.toContain("gorkheavy");
    expect(paths).not.toContain("..");
    const made = await lab.ssh(
      1,
      "cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; sudo mkdir gktest-pods && ls -d gktest-pods",
    );
    expect(made.stdout).toBe("gktest-pods");
    expect(
      (await lab.ssh(2, "ls -d /sys/fs/cgroup/gktest-pods /sys/fs/cgroup/*/gktest-pods 2>/dev/null | wc -l")).stdout,
    ).toBe("0");
  });

  test("can set what a node sets, each for itself, and nothing of the host's", async () => {
    const set =
      "sudo sysctl -w vm.overcommit_memory=1 vm.panic_on_oom=0 kernel.panic=10 kernel.panic_on_oops=1 kernel.keys.root_maxkeys=1000000 fs.inotify.max_user_instances=8192 net.ipv4.ip_forward=1";
    expect(
      (await lab.ssh(1, `${set} && sudo sysctl -n vm.overcommit_memory kernel.panic net.ipv4.ip_forward`)).stdout,
    ).toMatch(/1\n10\n1$/);
    expect((await lab.ssh(2, "sudo sysctl -n kernel.panic net.ipv4.ip_forward")).stdout).not.toMatch(/^10\n1$/);
    expect(
      (await lab.ssh(1, "sudo swapoff -a && sudo timedatectl set-ntp true && systemctl is-active systemd-timesyncd"))
        .stdout,
    ).toBe("active");
    expect((await lab.ssh(1, "sudo date -s 2020-01-01")).exitCode).not.toBe(0);
    expect((await lab.ssh(1, "sudo modprobe loop")).exitCode).not.toBe(0);
    expect(
      (
        await lab.ssh(
          1,
          "echo 1 | sudo tee /proc/sys/kernel/sched_autogroup_enabled /proc/sys/dev/hpet/max-user-freq /proc/sysrq-trigger >/dev/null",
        )
      ).exitCode,
    ).not.toBe(0);
    expect(await allSysctls()).toEqual(sysctls);
    expect(new Date().getFullYear()).toBeGreaterThan(2024);
  });

  test("can carry a node: overlays for containers, vxlan, NAT", async () => {
    const { exitCode, all } = await lab.ssh(
      1,
      "sudo sh -ec 'mkdir -p /var/lib/rancher/k3s/agent/containerd/t; cd /var/lib/rancher/k3s/agent/containerd/t; mkdir -p l u w m; mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; umount m; rm -rf /var/lib/rancher; ip link add vx9 type vxlan id 9 dev eth0 dstport 8472; ip link del vx9; iptables -t nat -A POSTROUTING -s 10.42.0.0/16 -j MASQUERADE'",
    );
    expect(all).toBe("");
    expect(exitCode).toBe(0);
  });

  test("tell their interfaces", async () => {
    expect(await lab.ask("interfaces", lab.spec(2))).toContainEqual({
      name: "eth0",
      macAddress: "bc:24:11:00:02:02",
      addresses: expect.arrayContaining([{ address: "192.168.1.202", prefix: 24, family: "ipv4" }]) as unknown,
    });
  });

  test("come back from a reboot with their disks, and fresh kernel state", async () => {
    await lab.ssh(
      1,
      "sudo sh -c 'echo kept > /root/kept; mkdir -p /var/lib/rancher/k3s/agent/containerd; echo kept > /var/lib/rancher/k3s/agent/containerd/kept; sync; reboot'",
    );
    const started = Date.now();
    for (;;) {
      const { stdout, exitCode } = await lab.ssh(1, "cat /proc/sys/kernel/random/boot_id");
      if (exitCode === 0 && stdout !== bootIds.get(1)) break;
      if (Date.now() - started > 60_000) throw new Error("no reboot within a minute");
      await delay(100);
    }
    console.log(`reboot to SSH: ${Date.now() - started} ms`);
    const { stdout } = await lab.ssh(
      1,
      "sudo cat /root/kept /var/lib/rancher/k3s/agent/containerd/kept; sudo sysctl -n kernel.panic net.ipv4.ip_forward; sudo iptables -t nat -S | grep -c MASQUERADE",
    );
    expect(stdout).toBe(`kept\nkept\n${(await readFile("/proc/sys/kernel/panic", "utf8")).trim()}\n0\n0`);
    expect(await lab.ask("state", lab.spec(1))).toMatchObject({ status: "running" });
  });

  test("start with another size after an orderly shutdown", async () => {
    await lab.ask("shutdown", lab.spec(2));
    expect(await lab.ask("state", lab.spec(2))).toEqual({ status: "stopped" });
    await lab.ask("start", lab.spec(2, 10240));
    await lab.sshUp(2);
    expect((await lab.ssh(2, "grep MemTotal /proc/meminfo")).stdout).toMatch(/ 10485760 kB/);
    await expect(lab.ask("start", lab.spec(2))).rejects.toThrow(/VM 202 .*runs already/);
  });

  test("are seen to be down when they power themselves off, and leave no card and no mount", async () => {
    await lab.ssh(3, "sudo poweroff");
    await expect.poll(() => lab.ask("state", lab.spec(3)), { timeout: 20_000 }).toEqual({ status: "stopped" });
    const links = await execa("nsenter", [`--net=${namespacePath(lab.name)}`, "ip", "-br", "link"]);
    expect(links.stdout).not.toContain("tap203");
    await lab.ask("discardDisk", lab.spec(3));
    await expect(lab.ask("discardDisk", lab.spec(2))).rejects.toThrow(/VM 202 .*stop it first/);
  });

  test("leave the host as it was while they run", async () => {
    expect(await hostWithoutPins()).toEqual(host);
  });

  test("say what is wrong with an image or a seed", async () => {
    const spec = lab.spec(3);
    await expect(lab.ask("start", { ...spec, cdromPaths: [spec.bootDiskPath] })).rejects.toThrow(
      /not an ISO 9660 image/,
    );
    await expect(
      lab.ask("start", { ...spec, nics: [{ name: "net0", macAddress: "bc:24:11:00:02:03", bridge: "vmbr7" }] }),
    ).rejects.toThrow(/vmbr7 does not exist/);
    await expect(lab.ask("start", { ...spec, bootDiskPath: spec.cdromPaths[0] ?? "" })).rejects.toThrow(
      /no QCOW2 image/,
    );
    expect(await lab.ask("state", spec)).toEqual({ status: "stopped" });
  });

  test("die with the process that holds them, and a sweep leaves nothing", async () => {
    await lab.crash();
    await expect.poll(async () => [...(await labProcesses(lab.name))], { timeout: 5000 }).toEqual([]);
    expect((await lab.sweep()).join("\n")).toContain("network namespace");
    expect(await remains()).toEqual(NOTHING);
    expect(await hostWithoutPins()).toEqual(host);
    expect(await lab.sweep()).toEqual([]);
  });
});

test("a crash at any moment of the start can be swept", { timeout: 120_000 }, async () => {
  for (const afterMs of [0, 150, 400, 700, 1200, 2500]) {
    await lab.open();
    const starts = NUMBERS.map((number) => lab.ask("start", lab.spec(number)).catch(() => undefined));
    await delay(afterMs);
    await lab.crash();
    await Promise.all(starts);
    await lab.sweep();
    expect({ afterMs, ...(await remains()) }).toEqual({ afterMs, ...NOTHING });
  }
  expect(await hostWithoutPins()).toEqual(host);
});

test("a sweep ends machines whose holder still runs", async () => {
  await lab.open();
  await lab.ask("start", lab.spec(1));
  expect((await lab.sweep()).join("\n")).toMatch(/\d+ processes/);
  expect(await remains()).toEqual(NOTHING);
});

test("a network that was left half-made is made again", async () => {
  await execa("ip", ["netns", "add", "gorkheavy-gktestnodes"]);
  expect(await labNetworkExists(lab.name)).toBe(false);
  await createLabNetwork(lab.name);
  expect(await labNetworkExists(lab.name)).toBe(true);
  await removeLabNetwork(lab.name);
  await execa("touch", [namespacePath(lab.name)]).catch(() => undefined);
  await removeLabNetwork(lab.name);
  expect(await labNamespaceExists(lab.name)).toBe(false);
});

describe("a command inside of the lab", () => {
  beforeAll(() => createLabNetwork(lab.name));
  afterAll(() => lab.sweep());

  test("gives its exit status and its output", async () => {
    const [program = "", ...rest] = isolated(lab.name, ["sh", "-c", "ip -br addr show vmbr0; exit 7"]);
    const result = await execa(program, rest, { reject: false });
    expect(result.exitCode).toBe(7);
    expect(result.stdout).toContain("192.168.1.211/24");
  });

  test("dies with all that it started when its starter is killed", async () => {
    const [program = "", ...rest] = isolated(lab.name, ["sh", "-c", "sleep 1000 & sleep 1000"]);
    const starter = spawn("sh", ["-c", '"$@"; true', "sh", program, ...rest], { stdio: "ignore" });
    await expect.poll(async () => (await labProcesses(lab.name)).size, { timeout: 5000 }).toBeGreaterThanOrEqual(4);
    starter.kill("SIGKILL");
    await expect.poll(async () => [...(await labProcesses(lab.name))], { timeout: 5000 }).toEqual([]);
  });

  test("leaves nothing running when it ends", async () => {
    const [program = "", ...rest] = isolated(lab.name, [
      "sh",
      "-c",
      "setsid sleep 1000 </dev/null >/dev/null 2>&1 & true",
    ]);
    expect((await execa(program, rest)).exitCode).toBe(0);
    await expect.poll(async () => [...(await labProcesses(lab.name))], { timeout: 5000 }).toEqual([]);
  });
});
