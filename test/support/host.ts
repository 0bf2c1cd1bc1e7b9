import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

/** What of the host a lab must leave alone: each entry is the text of one thing, comparable with `toEqual`. */
export interface HostState {
  links: string;
  addresses: string;
  routes: string;
  firewall: string;
  sysctls: string;
  mounts: string[];
  /** `path sha256` of each file under the user's own tool folders. */
  homeFiles: string[];
}

/** Kernel settings that a node's preparation or K3s would like to change. */
const SYSCTLS = [
  "vm.overcommit_memory",
  "vm.panic_on_oom",
  "kernel.panic",
  "kernel.panic_on_oops",
  "net.ipv4.ip_forward",
  "net.ipv4.conf.all.forwarding",
  "kernel.hostname",
];

/** Reads the host's state, as this process's own namespaces show it. */
export async function readHost(): Promise<HostState> {
  const sh = async (command: string) => (await execa("sh", ["-c", command], { reject: false })).stdout;
  const mounts = (await readFile("/proc/self/mounts", "utf8"))
    .split("\n")
    .map((line) => line.split(" ").slice(0, 3).join(" "));
  return {
    links: await sh("ip -o link | sed -E 's/^[0-9]+: //' | sort"),
    addresses: await sh("ip -o addr | awk '{print $2, $3, $4}' | sort"),
    routes: await sh("ip route; ip -6 route"),
    // Counters and comments differ from one reading to the next; the rules must not.
    firewall: await sh("(iptables-save; ip6tables-save) 2>/dev/null | grep -v '^#' | sed -E 's/\\[[0-9]+:[0-9]+\\]//'"),
    sysctls: await sh(`sysctl ${SYSCTLS.join(" ")}`),
    // A network namespace with a name is a mount by that name; it carries no files.
    mounts: mounts.filter((line) => line !== "" && !/^(nsfs|tmpfs) \/run\/netns/.test(line)).sort(),
    homeFiles: (await Promise.all([".kube", ".pulumi", ".ssh"].map((name) => filesUnder(join(homedir(), name)))))
      .flat()
      .sort(),
  };
}

/** Everything of a lab that could be left behind. */
export interface Remains {
  processes: string[];
  mounts: string[];
  namespaces: string[];
  cgroups: string[];
  files: string[];
}

/** What there is on the host of the lab `name`. @param files paths that must be gone */
export async function readRemains(name: string, files: string[]): Promise<Remains> {
  const lines = async (command: string) =>
    (await execa("sh", ["-c", command], { reject: false })).stdout.split("\n").filter((l) => l !== "");
  const own = `gorkheavy[-/]${name}([^a-z0-9-]|$)`;
  return {
    processes: (await lines("ps -eo pid,args")).filter(
      (line) => new RegExp(own).test(line) || line.includes(`datacentre/main.ts ${name}`),
    ),
    mounts: (await readFile("/proc/self/mounts", "utf8"))
      .split("\n")
      .filter((line) => new RegExp(own).test(line) && !/^nsfs/.test(line)),
    namespaces: (await readdir("/run/netns").catch(() => [])).filter((entry) => new RegExp(own).test(`${entry} `)),
    cgroups: (await lines(`find /sys/fs/cgroup -type d -name '*gorkheavy*'`)).filter((line) =>
      new RegExp(own).test(line),
    ),
    files: (
      await Promise.all(files.map(async (file) => ((await readdir(file).catch(() => undefined)) ? file : undefined)))
    ).filter((f) => f !== undefined),
  };
}

async function filesUnder(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    files.map(
      async (file) =>
        `${file} ${createHash("sha256")
          .update(await readFile(file))
          .digest("hex")}`,
    ),
  );
}
