import { access, chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { DISABLED_UNITS, ENABLED_UNITS, MASKED_UNITS, REMOVED_PATHS, ROOTFS_FILES } from "./rootfs-files.ts";

/**
 * What a lab machine has installed: systemd, cloud-init with netplan, sshd, and what a K3s node runs on.
 * etcd, containerd, runc and the CNI plugins are for the lab's own K3s; the real one brings its own and does not mind.
 */
export const ROOTFS_PACKAGES = [
  "systemd",
  "systemd-sysv",
  "systemd-timesyncd",
  "dbus",
  "udev",
  "kmod",
  "procps",
  "openssh-server",
  "sudo",
  "cloud-init",
  "netplan.io",
  "ca-certificates",
  "curl",
  "iproute2",
  "iptables",
  "iputils-ping",
  "ethtool",
  "conntrack",
  "socat",
  "containerd",
  "runc",
  "containernetworking-plugins",
  "etcd-server",
] as const;

/** A Debian or Ubuntu release, as `/etc/os-release` names it. */
export interface HostRelease {
  id: "debian" | "ubuntu";
  /** `bookworm`, `noble`. */
  codename: string;
}

/** Ubuntu releases whose systemd package still holds systemd-resolved. */
const RESOLVED_INSIDE_SYSTEMD = ["focal", "jammy"];

/** Part of the cache key; raise it when this file or rootfs-files.ts changes what comes out. */
const RECIPE = 1;

/**
 * The release in the text of an os-release file.
 * @throws Error when it is neither Debian nor Ubuntu, whose packages the machines are made of
 */
export function parseRelease(osRelease: string): HostRelease {
  const field = (name: string) => new RegExp(`^${name}=["']?([^"'\n]*)`, "m").exec(osRelease)?.[1] ?? "";
  const id = field("ID");
  const codename = field("VERSION_CODENAME");
  if ((id !== "debian" && id !== "ubuntu") || codename === "") {
    throw new Error(
      `this system calls itself ${JSON.stringify(field("PRETTY_NAME") || id)}: the lab's machines are made from the packages of a Debian or Ubuntu release, ` +
        "so run the lab on one of these (a container of one, started with --privileged, will do).",
    );
  }
  return { id, codename };
}

/** Reads `/etc/os-release` of this host. @throws Error as {@link parseRelease} */
export async function hostRelease(): Promise<HostRelease> {
  return parseRelease(await readFile("/etc/os-release", "utf8").catch(() => ""));
}

/** Packages for a release: {@link ROOTFS_PACKAGES}, and what is a package of its own only there. */
export function packagesFor(release: HostRelease): string[] {
  return RESOLVED_INSIDE_SYSTEMD.includes(release.codename)
    ? [...ROOTFS_PACKAGES]
    : [...ROOTFS_PACKAGES, "systemd-resolved"];
}

/** Names what {@link buildRootfs} would make: same key, same machine. Letters, digits and dashes. */
export function rootfsKey(release: HostRelease): string {
  const hash = createHash("sha256")
    .update(
      JSON.stringify([
        RECIPE,
        release,
        packagesFor(release),
        process.arch,
        ROOTFS_FILES,
        ENABLED_UNITS,
        DISABLED_UNITS,
        MASKED_UNITS,
        REMOVED_PATHS,
      ]),
    )
    .digest("hex");
  return `${release.codename}-${process.arch}-${hash.slice(0, 16)}`;
}

/**
 * Files of the host's apt that lead to its own distribution's archive. Third-party sources are left out: a machine must not get their packages.
 * Empty when there are none: mmdebstrap then asks the distribution's default mirror.
 */
export async function aptSources(release: HostRelease, aptDir = "/etc/apt"): Promise<string[]> {
  const parts = await readdir(join(aptDir, "sources.list.d")).catch(() => []);
  const candidates = [
    join(aptDir, "sources.list"),
    ...parts.sort().map((name) => join(aptDir, "sources.list.d", name)),
  ];
  const found: string[] = [];
  for (const file of candidates.filter((path) => /\.(list|sources)$/.test(path))) {
    const text = (await readFile(file, "utf8").catch(() => "")).replace(/^\s*#.*$/gm, "");
    // A third party's suite may be called `bookworm` too, but only the archive itself has this keyring or none at all.
    const ownKeyring = !/signed-by/i.test(text) || text.includes(`${release.id}-archive-keyring`);
    if (ownKeyring && new RegExp(`\\b${release.codename}(?![-\\w])`).test(text) && /\bmain\b/.test(text))
      found.push(file);
  }
  return found;
}

/** Installs a minimal system. In namespaces of its own, so that a killed build leaves neither a process nor a mount. */
async function install(release: HostRelease, target: string, report: (line: string) => void): Promise<void> {
  const argv = [
    ...[
      "--mount",
      "--pid",
      "--fork",
      "--kill-child",
      "--mount-proc",
      "mmdebstrap",
      "--mode=root",
      "--variant=minbase",
      "--format=directory",
    ],
    `--include=${packagesFor(release).join(",")}`,
    '--aptopt=Acquire::Retries "3"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    release.codename,
    target,
    ...(await aptSources(release)),
  ];
  const child = execa("unshare", argv, {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    buffer: false,
    reject: false,
    env: { LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" },
  });
  const tail: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    if (/^I: /.test(line)) report(line.slice(3));
    else if (line.trim() !== "") tail.push(line.trim());
    if (tail.length > 12) tail.shift();
  }
  const result = await child;
  if (result.failed) {
    throw new Error(
      `mmdebstrap: ${result.exitCode === undefined ? result.shortMessage : `exit ${result.exitCode}`} while installing ${release.codename} from ` +
        `${(await aptSources(release)).join(", ") || "the default mirror"}; check that \`apt-get update\` works here.\n${tail.join("\n")}`,
    );
  }
}

/** Turns an installed system into one that any number of machines can be made of. */
async function finish(rootfs: string): Promise<void> {
  for (const path of REMOVED_PATHS) await rm(join(rootfs, path), { recursive: true, force: true });
  for (const name of await readdir(join(rootfs, "etc/ssh"))) {
    // A key that is baked in would be every machine's; cloud-init writes the one from the seed.
    if (name.startsWith("ssh_host_")) await rm(join(rootfs, "etc/ssh", name));
  }
  for (const { path, text } of ROOTFS_FILES) {
    await mkdir(dirname(join(rootfs, path)), { recursive: true });
    await writeFile(join(rootfs, path), text);
  }
  await symlink("../run/systemd/resolve/stub-resolv.conf", join(rootfs, "etc/resolv.conf"));
  await mkdir(join(rootfs, "var/lib/apt/lists/partial"), { recursive: true });
  await mkdir(join(rootfs, "var/cache/apt/archives/partial"), { recursive: true });
  const inside = (...argv: string[]) =>
    execa("chroot", [rootfs, ...argv], { stdin: "ignore", env: { LC_ALL: "C.UTF-8", SYSTEMD_OFFLINE: "1" } });
  await inside("systemctl", "enable", ...ENABLED_UNITS);
  await inside("systemctl", "disable", ...DISABLED_UNITS);
  await inside("systemctl", "mask", ...MASKED_UNITS);
  await inside("passwd", "--lock", "root");
  await chmod(rootfs, 0o755);
}

/**
 * Makes the root file system that all machines share, at `dir/rootfs`. Takes about a minute and the network; needs root and mmdebstrap.
 * Whatever an earlier, broken run left there is removed first, and a failed run removes what it made.
 * @throws Error with mmdebstrap's own last words when a package cannot be had
 */
export async function buildRootfs(dir: string, report: (line: string) => void): Promise<void> {
  const release = await hostRelease();
  const rootfs = join(dir, "rootfs");
  await rm(rootfs, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  try {
    await install(release, rootfs, report);
    report("removing keys, caches and identities");
    await finish(rootfs);
    await access(join(rootfs, "usr/lib/systemd/systemd")).catch(() => access(join(rootfs, "lib/systemd/systemd")));
  } catch (error) {
    await rm(rootfs, { recursive: true, force: true });
    throw error;
  }
}
