/** One text file of the root file system that every lab machine shares. */
export interface RootfsFile {
  /** Path inside the root file system, no leading slash. */
  path: string;
  text: string;
}

/**
 * cloud-init reads the seed and nothing else: no metadata service is asked for, which would cost 50 s of timeouts.
 * Partitions, their growth and boot loaders belong to real disks.
 */
const CLOUD_INIT = `# A machine of the lab: its seed lies in /var/lib/cloud/seed/nocloud, put there from the attached ISO at each start.
datasource_list: [NoCloud, None]
locale: C.UTF-8
growpart: {mode: "off"}
grub_dpkg: {enabled: false}
resize_rootfs: false
apt: {preserve_sources_list: true}
`;

/** Kernel messages of the host are no business of a machine's journal; a lab's journal stays small. */
const JOURNALD = `[Journal]
Storage=persistent
SystemMaxUse=64M
ReadKMsg=no
`;

/**
 * timesyncd refuses to run in containers and wants a capability that a lab machine must not have, since it would set the host's clock.
 * Without both it runs, so that \`timedatectl set-ntp true\` and its check behave as on a VM, and leaves the clock to the host.
 */
const TIMESYNCD = `[Unit]
ConditionCapability=
ConditionVirtualization=
[Service]
AmbientCapabilities=
CapabilityBoundingSet=
`;

/**
 * What cloud-init writes for `ssh_pwauth: false` of every seed. It is there from the start as in Debian's cloud images: cloud-init restarts
 * sshd where it has to write it, some 0.3 s after sshd has begun to answer, and who comes in that moment is refused.
 */
const SSHD = "PasswordAuthentication no\n";

/**
 * sshd looks for its directory anew for each connection and closes the connection without it. systemd would take the directory away with
 * each stop, also from connections that were accepted just before.
 */
const SSH_SERVICE = `[Service]
RuntimeDirectoryPreserve=yes
`;

/** Files written over the freshly installed system. */
export const ROOTFS_FILES: readonly RootfsFile[] = [
  { path: "etc/cloud/cloud.cfg.d/90-gorkheavy.cfg", text: CLOUD_INIT },
  { path: "etc/systemd/journald.conf.d/90-gorkheavy.conf", text: JOURNALD },
  { path: "etc/systemd/system/systemd-timesyncd.service.d/90-gorkheavy.conf", text: TIMESYNCD },
  { path: "etc/ssh/sshd_config.d/50-cloud-init.conf", text: SSHD },
  { path: "etc/systemd/system/ssh.service.d/90-gorkheavy.conf", text: SSH_SERVICE },
  { path: "etc/fstab", text: "" },
  { path: "etc/hostname", text: "localhost\n" },
  { path: "etc/hosts", text: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" },
  // Empty, not absent: each machine makes its own at its first boot, and keeps it.
  { path: "etc/machine-id", text: "" },
];

/** Units that must run at boot. */
export const ENABLED_UNITS = [
  "systemd-networkd.service",
  "systemd-resolved.service",
  "ssh.service",
  "systemd-timesyncd.service",
] as const;

/** Units that packages switch on and that a K3s node starts itself, or not at all. */
export const DISABLED_UNITS = ["containerd.service", "etcd.service"] as const;

/** Units that only cost time or do harm in a container: no disks, no terminals, no network for updates. */
export const MASKED_UNITS = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
  "man-db.timer",
  "console-getty.service",
  "getty@.service",
  "systemd-udevd.service",
  "systemd-udev-settle.service",
  "sys-kernel-debug.mount",
  "sys-kernel-tracing.mount",
] as const;

/** What must not be shared by all machines, or only takes space; emptied after the installation. Paths of files or directories. */
export const REMOVED_PATHS = [
  "etc/resolv.conf",
  "var/lib/dbus/machine-id",
  "var/lib/systemd/random-seed",
  "var/lib/apt/lists",
  "var/cache/apt",
  "var/cache/debconf/config.dat-old",
  "var/cache/debconf/templates.dat-old",
  "var/cache/ldconfig",
  "var/cache/man",
  "var/log/apt",
  "var/log/dpkg.log",
  "var/log/alternatives.log",
  "var/log/bootstrap.log",
] as const;
