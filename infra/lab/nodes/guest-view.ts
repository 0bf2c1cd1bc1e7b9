import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Size of a virtual machine as its own kernel would show it. */
export interface GuestSize {
  cores: number;
  memoryMib: number;
}

/** Where a machine's own views of `/proc` and `/sys` are mounted inside it, read-only. */
export const GUEST_DIR = "/run/gorkheavy-guest";

/**
 * `/proc/meminfo` of a machine. All lines have a fixed length for their value, so that the file can be rewritten in place under its readers.
 * @param usedBytes what the machine's cgroup counts, page cache and all
 * @param cacheBytes the part of it that is page cache and can be taken back
 */
export function renderMeminfo(memoryMib: number, usedBytes: number, cacheBytes: number): string {
  const totalKib = memoryMib * 1024;
  const freeKib = Math.max(0, totalKib - Math.ceil(usedBytes / 1024));
  const cachedKib = Math.min(Math.floor(cacheBytes / 1024), totalKib - freeKib);
  const lines: [string, number][] = [
    ["MemTotal", totalKib],
    ["MemFree", freeKib],
    ["MemAvailable", freeKib + cachedKib],
    ["Buffers", 0],
    ["Cached", cachedKib],
    ["SwapCached", 0],
    ["Active", totalKib - freeKib - cachedKib],
    ["Inactive", cachedKib],
    ["Unevictable", 0],
    ["Mlocked", 0],
    ["SwapTotal", 0],
    ["SwapFree", 0],
    ["Dirty", 0],
    ["Writeback", 0],
    ["AnonPages", totalKib - freeKib - cachedKib],
    ["Mapped", 0],
    ["Shmem", 0],
    ["Slab", 0],
    ["SReclaimable", 0],
    ["SUnreclaim", 0],
    ["CommitLimit", totalKib],
    ["Committed_AS", totalKib - freeKib],
  ];
  const text = lines.map(([name, kib]) => `${`${name}:`.padEnd(16)}${String(kib).padStart(12)} kB\n`).join("");
  return `${text}HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\nHugepagesize:       2048 kB\n`;
}

/** `/proc/cpuinfo` of a machine: the host's first processor, `cores` times, one socket. */
export function renderCpuinfo(hostCpuinfo: string, cores: number): string {
  const first = hostCpuinfo.split(/\n\s*\n/)[0] ?? "";
  return Array.from({ length: cores }, (_, index) => {
    const own: Record<string, number> = {
      processor: index,
      siblings: cores,
      "cpu cores": cores,
      "core id": index,
      "physical id": 0,
      apicid: index,
      "initial apicid": index,
    };
    const lines = first.split("\n").map((line) => {
      const name = line.split(":")[0]?.trim() ?? "";
      const value = own[name];
      return value === undefined ? line : `${line.slice(0, line.indexOf(":"))}: ${value}`;
    });
    return `${lines.join("\n").trimEnd()}\n\n`;
  }).join("");
}

/** `0` or `0-3`: how the kernel writes the set of the first `cores` processors. */
export function cpuList(cores: number): string {
  return cores === 1 ? "0" : `0-${cores - 1}`;
}

/** Set of processors as the kernel writes masks: groups of eight hexadecimal digits, highest first, joined by commas. */
export function cpuMask(set: readonly number[]): string {
  const digits = set.reduce((mask, cpu) => mask | (1n << BigInt(cpu)), 0n).toString(16);
  const padded = digits.length > 8 ? digits.padStart(Math.ceil(digits.length / 8) * 8, "0") : digits;
  return padded.match(/.{1,8}/g)?.join(",") ?? "0";
}

/**
 * Files and links below `/sys/devices/system/{cpu,node}` of a machine: what kubelet (cadvisor), `lscpu` and `nproc --all` read.
 * @returns path to content; a path ending in `/` is an empty directory
 */
export function guestSysFiles(size: GuestSize): { files: Map<string, string>; links: Map<string, string> } {
  const files = new Map<string, string>();
  const links = new Map<string, string>();
  const all = cpuList(size.cores);
  const everyCpu = Array.from({ length: size.cores }, (_, cpu) => cpu);
  for (const name of ["online", "possible", "present"]) files.set(`cpu/${name}`, `${all}\n`);
  files.set("cpu/offline", "\n");
  files.set("cpu/isolated", "\n");
  files.set("cpu/kernel_max", `${size.cores - 1}\n`);
  for (let cpu = 0; cpu < size.cores; cpu += 1) {
    const topology = `cpu/cpu${cpu}/topology`;
    files.set(`${topology}/core_id`, `${cpu}\n`);
    files.set(`${topology}/physical_package_id`, "0\n");
    files.set(`${topology}/die_id`, "0\n");
    for (const name of ["thread_siblings_list", "core_cpus_list"]) files.set(`${topology}/${name}`, `${cpu}\n`);
    for (const name of ["core_siblings_list", "package_cpus_list", "die_cpus_list"])
      files.set(`${topology}/${name}`, `${all}\n`);
    files.set(`cpu/cpu${cpu}/online`, "1\n");
    for (const name of ["thread_siblings", "core_cpus"]) files.set(`${topology}/${name}`, `${cpuMask([cpu])}\n`);
    for (const name of ["core_siblings", "package_cpus", "die_cpus"])
      files.set(`${topology}/${name}`, `${cpuMask(everyCpu)}\n`);
    links.set(`cpu/cpu${cpu}/node0`, "../../node/node0");
    links.set(`node/node0/cpu${cpu}`, `../../cpu/cpu${cpu}`);
  }
  for (const name of ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"])
    files.set(`node/${name}`, "0\n");
  files.set("node/node0/cpumap", `${cpuMask(everyCpu)}\n`);
  files.set("node/node0/cpulist", `${all}\n`);
  files.set("node/node0/distance", "10\n");
  const totalKib = size.memoryMib * 1024;
  files.set(
    "node/node0/meminfo",
    `Node 0 MemTotal:       ${totalKib} kB\nNode 0 MemFree:        ${totalKib} kB\nNode 0 MemUsed:               0 kB\n`,
  );
  files.set("node/node0/hugepages/", "");
  return { files, links };
}

/** `/proc/swaps` of a machine without swap. With it `swapoff -a` has nothing to do, and cannot reach the host's. */
export const EMPTY_SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

/**
 * Sysctls that are the whole host's, not a machine's: every machine gets files of its own in their place, with the host's values at boot.
 * K3s' protect-kernel-defaults needs those of `vm` and `kernel` (kubelet, pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables);
 * the rest is what hardening guides and workloads commonly set.
 */
export const VIRTUAL_SYSCTLS = [
  "vm",
  "fs/inotify",
  "fs/file-max",
  "fs/nr_open",
  "fs/aio-max-nr",
  "fs/suid_dumpable",
  "fs/protected_hardlinks",
  "fs/protected_symlinks",
  "kernel/keys",
  "kernel/panic",
  "kernel/panic_on_oops",
  "kernel/panic_on_warn",
  "kernel/softlockup_panic",
  "kernel/hung_task_timeout_secs",
  "kernel/pid_max",
  "kernel/threads-max",
  "kernel/printk",
  "kernel/dmesg_restrict",
  "kernel/kptr_restrict",
  "kernel/randomize_va_space",
  "kernel/unprivileged_bpf_disabled",
  "kernel/perf_event_paranoid",
  "kernel/yama",
  "kernel/sysrq",
  "kernel/core_pattern",
  "kernel/core_uses_pid",
] as const;

/**
 * What runs as process 1 of a machine before systemd: gives the machine its own view of memory, processors and the host-wide sysctls.
 * It runs inside the machine's own mount namespace, so nothing of it can be seen outside.
 */
export function renderGuestInit(): string {
  return `#!/bin/sh
# First process of a lab machine: what belongs to the whole host is covered by the machine's own copies, then systemd takes over.
guest=${GUEST_DIR}
own=/run/gorkheavy-own
mkdir -p "$own"
for file in meminfo cpuinfo swaps; do mount --bind "$guest/$file" "/proc/$file"; done
for name in cpu node; do
  if [ -d "/sys/devices/system/$name" ]; then mount --bind "$guest/sys/$name" "/sys/devices/system/$name"; fi
done
for name in ${VIRTUAL_SYSCTLS.join(" ")}; do
  from=/proc/sys/$name
  [ -e "$from" ] || continue
  if [ -d "$from" ]; then
    mkdir -p "$own/$name"
    # Some of them can only be written; they stay empty here.
    for path in $(cd "$from" && find . -type f); do
      mkdir -p "$own/$name/\${path%/*}"
      cat "$from/$path" > "$own/$name/$path" 2>/dev/null
    done
  else
    mkdir -p "$own/\${name%/*}"
    cat "$from" > "$own/$name" 2>/dev/null
  fi
  mount --bind "$own/$name" "$from"
done
# With cgroup v1 nspawn leaves every controller but its own read-only; a kubelet needs them all.
for controller in /sys/fs/cgroup/*/; do
  if mountpoint -q "$controller"; then mount -o remount,bind,rw "$controller"; fi
done
[ -e /sys/fs/cgroup/cgroup.controllers ] && mount -o remount,bind,rw /sys/fs/cgroup
# Process 1 would else write its own log to the host's kernel log.
exec /lib/systemd/systemd --log-target=journal --show-status=yes
`;
}

/**
 * Writes what {@link GUEST_DIR} shows: `meminfo`, `cpuinfo`, `swaps`, `sys/` and `init`.
 * @param dir directory on the host; replaced
 */
export async function writeGuestView(dir: string, size: GuestSize, hostCpuinfo: string): Promise<void> {
  await rm(dir, { recursive: true, force: true });
  await mkdir(join(dir, "sys"), { recursive: true });
  await writeFile(join(dir, "meminfo"), renderMeminfo(size.memoryMib, 0, 0));
  await writeFile(join(dir, "cpuinfo"), renderCpuinfo(hostCpuinfo, size.cores));
  await writeFile(join(dir, "swaps"), EMPTY_SWAPS);
  await writeFile(join(dir, "init"), renderGuestInit(), { mode: 0o755 });
  const { files, links } = guestSysFiles(size);
  for (const [path, text] of files) {
    const target = join(dir, "sys", path);
    await mkdir(path.endsWith("/") ? target : join(target, ".."), { recursive: true });
    if (!path.endsWith("/")) await writeFile(target, text);
  }
  for (const [path, target] of links) await symlink(target, join(dir, "sys", path));
}
