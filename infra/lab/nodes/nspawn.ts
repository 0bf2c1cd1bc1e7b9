import { readFile } from "node:fs/promises";
import { execa } from "execa";
import { GUEST_DIR } from "./guest-view.ts";

/** What nspawn exits with when the guest asked for a reboot and nspawn was told to keep its unit. Source: systemd v252, src/nspawn/nspawn.c. */
export const REBOOT_STATUS = 133;

/** Signal that asks systemd, as process 1, to power off: SIGRTMIN+3. Source: systemd(1), "Signals"; SIGRTMIN is 34 with glibc. */
export const POWER_OFF_SIGNAL = 37;

/**
 * What nspawn's own filter refuses and a K3s node or `timedatectl` needs: keys for runc, eBPF for cgroup v2 device rules, and reading the clock's state.
 * Setting the clock stays impossible, since CAP_SYS_TIME is dropped.
 */
const SYSTEM_CALLS = "add_key keyctl request_key bpf adjtimex clock_adjtime";

/** Shell: enter the cgroups named before `--`, then become the command after it. */
const ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"';

/** One boot of a machine, everything in place. Paths are absolute. */
export interface Boot {
  /** Name of the machine in nspawn's own words and in `ps`. */
  name: string;
  /** Mounted root file system. */
  root: string;
  /** Directory that becomes `/var`. */
  varDir: string;
  /** Directory with the guest's view of its host, see {@link GUEST_DIR}. */
  guest: string;
  /** Pin of the machine's network namespace. */
  netns: string;
  /** Files that a process writes `0` to, to enter the machine's cgroups. */
  procsFiles: readonly string[];
}

/** The argument vector that boots a machine, as {@link spawnNspawn} starts it. */
export function nspawnArguments(boot: Boot): string[] {
  return [
    // The network namespace is entered first, or the /sys that nspawn mounts would show the lab's cards instead of the machine's.
    ...["setpriv", "--pdeathsig", "KILL", "nsenter", `--net=${boot.netns}`, "--"],
    ...["systemd-nspawn", "--quiet", `--directory=${boot.root}`, `--machine=${boot.name}`],
    `--network-namespace-path=${boot.netns}`,
    ...["--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off"],
    "--console=read-only",
    // Neither the host's clock nor its kernel modules.
    ...["--capability=all", "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE"],
    `--system-call-filter=${SYSTEM_CALLS}`,
    ...[
      "--bind=/dev/kmsg",
      `--bind=${escapeBind(boot.varDir)}:/var`,
      `--bind-ro=${escapeBind(boot.guest)}:${GUEST_DIR}`,
    ],
    `${GUEST_DIR}/init`,
  ];
}

/** nspawn takes `source:destination:options`; a colon in a path is written with a backslash. */
function escapeBind(path: string): string {
  return path.replace(/([\\:])/g, "\\$1");
}

/** Starts nspawn in the machine's cgroups. The console comes from its standard output. It dies with this process. */
export function spawnNspawn(boot: Boot) {
  return execa("sh", ["-c", ENTER_CGROUPS, "sh", ...boot.procsFiles, "--", ...nspawnArguments(boot)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    buffer: false,
    reject: false,
    // A signal to this process's group is no signal to the machines.
    detached: true,
    extendEnv: false,
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      // /proc/sys/net is the machine's own; everything else there, and /sys, is the host's and stays read-only.
      SYSTEMD_NSPAWN_API_VFS_WRITABLE: "network",
      SYSTEMD_NSPAWN_TMPFS_TMP: "0",
    },
  });
}

/** Id of the guest's process 1, as this process counts; undefined while nspawn is still setting up, and when it is gone. */
export async function guestLeader(nspawnPid: number): Promise<number | undefined> {
  const children = await readFile(`/proc/${nspawnPid}/task/${nspawnPid}/children`, "utf8").catch(() => "");
  for (const child of children.split(" ").filter((id) => id !== "")) {
    if ((await readFile(`/proc/${child}/comm`, "utf8").catch(() => "")).trim() === "systemd") return Number(child);
  }
  return undefined;
}

/** How a process ended, in words. */
export function describeEnd(result: { exitCode?: number; signal?: string }): string {
  return result.signal ? `killed by ${result.signal}` : `exit ${result.exitCode ?? "unknown"}`;
}
