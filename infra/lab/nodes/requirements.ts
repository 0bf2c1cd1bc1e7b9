import { constants, existsSync } from "node:fs";
import { access, mkdir, mkdtemp, readFile, rm, statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { execa } from "execa";
import { cacheRoot } from "../tools/paths.ts";

/** Free disk for a first run, bytes: 12 GiB. Caches and the builds that fill them take 8 GiB, a machine about 1 GiB. */
export const NEEDED_DISK_BYTES = 12 * 1024 ** 3;

/** Free disk for a run that finds its caches, bytes: 4 GiB, for machines and logs. What a running lab has taken is not free any more. */
export const NEEDED_DISK_AGAIN_BYTES = 4 * 1024 ** 3;

/** Memory of the host, bytes: 6 GiB. Control plane, three nodes and the pods of five very small models take 4 GiB, builds before that as much. */
export const NEEDED_MEMORY_BYTES = 6 * 1024 ** 3;

/** Instances of inotify that one user may hold, counted over all machines: each boots systemd, containerd and kubelet as root. */
export const NEEDED_INOTIFY_INSTANCES = 128;

/** One thing that the lab needs of its host. */
export interface Finding {
  /** What was looked at, with what it turned out to be. */
  what: string;
  ok: boolean;
  /** What to do; absent when it is fine. */
  fix?: string;
}

/** What the checks look at; each can be replaced to see a check fail. */
export interface Host {
  platform: string;
  /** Effective user id; undefined where there is none. */
  uid: number | undefined;
  /** Directory on the disk that the lab fills; where it does not exist its nearest parent is looked at. */
  dir: string;
  /** Whether that directory exists: then an earlier run has left its caches. */
  usedBefore: boolean;
  freeDiskBytes(dir: string): Promise<number>;
  memoryBytes(): Promise<number>;
  /** Whether a program is on PATH. */
  has(program: string): Promise<boolean>;
  /** Runs a probe in namespaces of its own; undefined when it works, else its last words. */
  probe(argv: readonly string[]): Promise<string | undefined>;
  readText(path: string): Promise<string | undefined>;
}

/** Programs and the Debian and Ubuntu packages that bring them. */
const PROGRAMS = [
  { program: "systemd-nspawn", package: "systemd-container" },
  { program: "mmdebstrap", package: "mmdebstrap" },
  { program: "ip", package: "iproute2" },
  { program: "iptables", package: "iptables" },
  { program: "unshare", package: "util-linux" },
  { program: "nsenter", package: "util-linux" },
  { program: "setpriv", package: "util-linux" },
  { program: "mount", package: "mount" },
] as const;

/** Looks at this host. @param dir where the lab will keep its disks */
export function thisHost(dir: string): Host {
  return {
    platform: process.platform,
    uid: process.geteuid?.(),
    dir,
    usedBefore: existsSync(dir),
    async freeDiskBytes(path) {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    },
    memoryBytes: async () => totalmem(),
    async has(program) {
      for (const each of [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"]) {
        if (each !== "" && (await exists(join(each, program)))) return true;
      }
      return false;
    },
    async probe(argv) {
      const [program = "", ...rest] = argv;
      const result = await execa(program, rest, { reject: false, stdin: "ignore", all: true, timeout: 20_000 });
      return result.failed
        ? result.all.trim().split("\n").at(-1) || result.shortMessage || "it failed without a word"
        : undefined;
    },
    readText: (path) => readFile(path, "utf8").catch(() => undefined),
  };
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}

async function existingParent(dir: string): Promise<string> {
  let at = dir;
  while (!(await exists(at)) && dirname(at) !== at) at = dirname(at);
  return at;
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

/**
 * What the lab needs of a host and what it has, each with what to do about it. Where one check makes the next pointless (no Linux, no root) it ends there.
 * Probes run in namespaces of their own and leave nothing behind.
 * @param dir directory on the disk that the lab fills. Default that of the caches
 */
export async function readRequirements(dir = cacheRoot(), host: Host = thisHost(dir)): Promise<Finding[]> {
  const findings: Finding[] = [];
  const say = (what: string, ok: boolean, fix: string) => findings.push(ok ? { what, ok } : { what, ok, fix });
  say(
    `operating system: ${host.platform}`,
    host.platform === "linux",
    "the lab needs Linux; run it in a Linux virtual machine with Debian or Ubuntu",
  );
  if (host.platform !== "linux") return findings;
  say(
    `user: ${host.uid === 0 ? "root" : `id ${host.uid ?? "unknown"}`}`,
    host.uid === 0,
    "run it as root: machines, network and mounts need it, for instance with `sudo npm run lab`",
  );

  const missing = [];
  for (const each of PROGRAMS) if (!(await host.has(each.program))) missing.push(each);
  for (const each of missing) say(`${each.program}: not found`, false, `apt-get install ${each.package}`);
  if (missing.length === 0) say("programs: all there", true, "");
  if (host.uid !== 0) return findings;

  const unshare = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--mount-proc"];
  const namespaces = missing.some(({ program }) => program === "unshare")
    ? "unshare is missing"
    : await host.probe([...unshare, "true"]);
  say(
    namespaces === undefined
      ? "namespaces: mount, pid, net, ipc, uts and cgroup"
      : `namespaces: refused (${namespaces})`,
    namespaces === undefined,
    "the kernel or the container around this refuses new namespaces; run on a real or virtual machine, or start the container with --privileged",
  );
  if (namespaces === undefined) await probeInside(host, unshare, say);

  const cgroups = (await host.readText("/proc/self/cgroup")) ?? "";
  const unified = (await host.readText("/sys/fs/cgroup/cgroup.controllers")) ?? "";
  const lacking = ["cpu", "memory", "pids"].filter(
    (name) => !unified.split(/\s+/).includes(name) && !new RegExp(`[:,]${name}[:,]`).test(cgroups),
  );
  say(
    lacking.length === 0 ? `cgroups: version ${unified === "" ? 1 : 2}` : `cgroups: no ${lacking.join(", ")}`,
    lacking.length === 0,
    "mount the cgroup hierarchies at /sys/fs/cgroup; in a container, start it with --privileged --cgroupns=host",
  );
  const instances = Number((await host.readText("/proc/sys/fs/inotify/max_user_instances")) ?? Number.NaN);
  say(
    `inotify instances: ${Number.isNaN(instances) ? "unknown" : instances}`,
    Number.isNaN(instances) || instances >= NEEDED_INOTIFY_INSTANCES,
    `allow ${NEEDED_INOTIFY_INSTANCES} or more: sysctl -w fs.inotify.max_user_instances=512`,
  );

  const place = await existingParent(host.dir);
  const disk = await host.freeDiskBytes(place);
  const neededDisk = host.usedBefore ? NEEDED_DISK_AGAIN_BYTES : NEEDED_DISK_BYTES;
  say(
    `free disk at ${place}: ${gib(disk)}`,
    disk >= neededDisk,
    `the lab needs ${gib(neededDisk)}; free some, or set XDG_CACHE_HOME and XDG_STATE_HOME to a larger disk`,
  );
  const memory = await host.memoryBytes();
  say(
    `memory: ${gib(memory)}`,
    memory >= NEEDED_MEMORY_BYTES,
    `the lab needs ${gib(NEEDED_MEMORY_BYTES)}; use a larger machine`,
  );
  return findings;
}

async function probeInside(
  host: Host,
  unshare: readonly string[],
  say: (what: string, ok: boolean, fix: string) => void,
): Promise<void> {
  const links = await host.probe([
    ...unshare,
    "sh",
    "-c",
    "ip link add gkprobe type bridge && ip link add gkp0 type veth peer name gkp1 && iptables -t nat -L -n >/dev/null",
  ]);
  say(
    links === undefined ? "network: bridges, veth pairs and iptables" : `network: ${links}`,
    links === undefined,
    "the kernel must have bridge, veth and nf_nat: `modprobe bridge veth iptable_nat` on the host, or another kernel",
  );
  const place = await existingParent(host.dir);
  const dir = await mkdtemp(join(place, ".gorkheavy-probe-"));
  try {
    for (const layer of ["lower", "upper", "work", "merged"]) await mkdir(join(dir, layer));
    const mount = `cd "$1" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && : > merged/file`;
    const overlay = await host.probe([...unshare, "sh", "-c", mount, "sh", dir]);
    say(
      overlay === undefined ? `overlays at ${place}: yes` : `overlays at ${place}: ${overlay}`,
      overlay === undefined,
      "the disk cannot carry an overlay (itself one, or a network disk); set XDG_STATE_HOME to a directory on ext4, xfs or btrfs",
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * {@link readRequirements}, for whoever cannot go on without.
 * @throws Error that lists everything that is missing, each with what to do
 */
export async function checkRequirements(dir = cacheRoot(), host: Host = thisHost(dir)): Promise<void> {
  const missing = (await readRequirements(dir, host)).filter(({ ok }) => !ok);
  if (missing.length === 0) return;
  throw new Error(
    `this machine cannot run the lab:\n${missing.map(({ what, fix }) => `  ${what}: ${fix ?? ""}`).join("\n")}`,
  );
}
