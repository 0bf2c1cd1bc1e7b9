import { PUT_FUNCTION, renderPut } from "./step-script.ts";

/** A port that the nodes must reach on each other. */
export interface OpenPort {
  port: number;
  protocol: "tcp" | "udp";
}

/** What a node is to be like. */
export interface NodePrepSpec {
  /** User that keeps `sudo` without a password. */
  user: string;
  ports: readonly OpenPort[];
  /** Networks whose traffic a firewall must let in: pods and Services. */
  clusterCidrs: readonly string[];
  /** Whether a clock that no server corrects fails the gate. */
  requireTimeSync: boolean;
}

/**
 * Kernel settings that the kubelet wants to find with `protect-kernel-defaults`.
 * Source: K3s documentation, "CIS Hardening Guide", and the kubelet's own check (pkg/kubelet/cm, Kubernetes 1.34).
 */
export const KERNEL_SETTINGS: readonly (readonly [string, string])[] = [
  ["vm.panic_on_oom", "0"],
  ["vm.overcommit_memory", "1"],
  ["kernel.panic", "10"],
  ["kernel.panic_on_oops", "1"],
  ["kernel.keys.root_maxbytes", "25000000"],
];

/**
 * Room for the kubelet, containerd and log followers of some dozen pods; 128 instances, the kernel's default, end a kubelet with
 * "inotify_init: too many open files". Not part of the gate: a node starts without it.
 */
const FILE_WATCHES: readonly (readonly [string, string])[] = [
  ["fs.inotify.max_user_instances", "8192"],
  ["fs.inotify.max_user_watches", "524288"],
];

/**
 * In a container the kernel's settings, its swap and its clock are the host's: they are looked at and never touched, and
 * what is not as wanted is a warning. Source for `--container`: systemd-detect-virt(1).
 */
const CONTAINER = `container=no
if command -v systemd-detect-virt >/dev/null && systemd-detect-virt --container --quiet; then container=yes; fi`;

/** Waits until the first boot is done, so that nothing is changed under cloud-init's hands. Exit 2 is "done, with warnings". */
export function renderFirstContact(): string {
  return `if command -v cloud-init >/dev/null; then
  code=0
  cloud-init status --wait >/dev/null || code=$?
  if [ "$code" != 0 ] && [ "$code" != 2 ]; then
    cloud-init status --long >&2 || true
    echo "the first boot failed; see /var/log/cloud-init-output.log on this machine" >&2
    exit 1
  fi
fi`;
}

/** Makes the node so (A17, A18, A20 to A22). Runs twice safely. */
export function renderNodePrep(spec: NodePrepSpec): string {
  const sysctl = [...KERNEL_SETTINGS, ...FILE_WATCHES].map(([key, value]) => `${key}=${value}`).join("\n");
  const sshd = [
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PubkeyAuthentication yes",
    "PermitRootLogin no",
  ];
  return `${PUT_FUNCTION}
${CONTAINER}
# Swap off, now and after the next start (A21).
if [ "$container" = no ]; then swapoff -a; fi
if [ -f /etc/fstab ]; then sed -E -i 's|^([^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]].*)$|# \\1|' /etc/fstab; fi
# Clock (A22).
if [ "$container" = no ]; then timedatectl set-ntp true; fi
# What protect-kernel-defaults wants to find.
${renderPut("/etc/sysctl.d/90-gorkheavy.conf", "0644", sysctl)}
# A container may have no say in these; the preflight tells what is still wrong.
sysctl -q -p /etc/sysctl.d/90-gorkheavy.conf 2>/dev/null || [ "$container" = yes ]
if [ "$container" = no ]; then
  ${renderModules()}
fi
# No login by password (A17). Read before every other file there: the first value counts.
changed=0
${renderPut("/etc/ssh/sshd_config.d/10-gorkheavy.conf", "0644", sshd.join("\n"))}
if ! grep -Eqs '^[[:space:]]*Include[[:space:]]+/etc/ssh/sshd_config.d/' /etc/ssh/sshd_config; then
  sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config
  changed=1
fi
mkdir -p /run/sshd
sshd=$(command -v sshd || echo /usr/sbin/sshd)
"$sshd" -t
if [ "$changed" = 1 ]; then
  for unit in ssh sshd; do
    if systemctl is-active --quiet "$unit"; then systemctl reload "$unit"; fi
  done
fi
# sudo without a password (A18), checked before it counts.
sudoers=$(mktemp)
echo '${spec.user} ALL=(ALL) NOPASSWD:ALL' > "$sudoers"
visudo -cqf "$sudoers"
install -m 0440 -o root -g root "$sudoers" /etc/sudoers.d/90-gorkheavy
rm -f "$sudoers"
# Firewalls that are on let K3s through (A20, option B).
if command -v ufw >/dev/null && ufw status | grep -q '^Status: active'; then
${spec.ports.map(({ port, protocol }) => `  ufw allow ${port}/${protocol} >/dev/null`).join("\n")}
${spec.clusterCidrs.map((cidr) => `  ufw allow from ${cidr} >/dev/null`).join("\n")}
elif command -v iptables >/dev/null && iptables -S INPUT 2>/dev/null | grep -Eq '^-P INPUT DROP|-j (DROP|REJECT)'; then
${spec.ports.map(({ port, protocol }) => `  ${renderAccept(`-p ${protocol} --dport ${port}`)}`).join("\n")}
${spec.clusterCidrs.map((cidr) => `  ${renderAccept(`-s ${cidr}`)}`).join("\n")}
  if command -v netfilter-persistent >/dev/null; then netfilter-persistent save >/dev/null 2>&1; fi
fi`;
}

function renderModules(): string {
  return `for module in br_netfilter overlay; do modprobe "$module" 2>/dev/null || true; done`;
}

function renderAccept(match: string): string {
  const rule = `INPUT ${match} -m comment --comment gorkheavy -j ACCEPT`;
  return `iptables -C ${rule} 2>/dev/null || iptables -I ${rule}`;
}

/** The gate (A19, A23): looks at each point and lists all that is wrong, not only the first. */
export function renderPreflight(spec: NodePrepSpec): string {
  return `${CONTAINER}
bad=0
wrong() { echo "preflight: $1" >&2; bad=1; }
host_wrong() { if [ "$container" = yes ]; then echo "preflight: of the container's host: $1" >&2; else wrong "$1"; fi; }
# Swap (A21).
if [ "$(awk 'NR > 1' /proc/swaps | wc -l)" != 0 ]; then host_wrong "swap is on; run swapoff -a"; fi
if [ -f /etc/fstab ] && grep -Eq '^[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]' /etc/fstab; then
  wrong "/etc/fstab brings swap back at the next start"
fi
# Clock (A22).
${spec.requireTimeSync ? renderClockCheck() : ":"}
# Kernel.
${KERNEL_SETTINGS.map(
  ([key, value]) =>
    `got=$(cat /proc/sys/${key.replaceAll(".", "/")} 2>/dev/null || echo missing)\nif [ "$got" != ${value} ]; then host_wrong "${key} is $got, want ${value}"; fi`,
).join("\n")}
# SSH (A17).
sshd=$(command -v sshd || echo /usr/sbin/sshd)
settings=$("$sshd" -T 2>/dev/null || true)
for want in 'passwordauthentication no' 'pubkeyauthentication yes'; do
  if ! grep -qx "$want" <<< "$settings"; then wrong "sshd: want \\"$want\\""; fi
done
# sudo (A18).
if ! sudo -n -l -U ${spec.user} 2>/dev/null | grep -q 'NOPASSWD: ALL'; then wrong "${spec.user} cannot use sudo without a password"; fi
# Firewall (A20, A23): off, or with K3s' ports open.
if command -v ufw >/dev/null && ufw status | grep -q '^Status: active'; then
${spec.ports.map(({ port, protocol }) => `  if ! ufw status | grep -Eq '^${port}/${protocol}[[:space:]]+ALLOW'; then wrong "ufw is on and ${port}/${protocol} is shut"; fi`).join("\n")}
fi
if [ "$bad" != 0 ]; then echo "preflight: this node is not ready for K3s" >&2; exit 1; fi
echo ready`;
}

/** Seconds to wait for the first answer of a time server. */
const CLOCK_SECONDS = 90;

function renderClockCheck(): string {
  return `if [ "$container" = no ]; then
  end=$((SECONDS + ${CLOCK_SECONDS}))
  until [ "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)" = yes ]; do
    if [ "$SECONDS" -ge "$end" ]; then
      wrong "the clock is not synchronized after ${CLOCK_SECONDS} s; let NTP (123/udp) out, or name your server in /etc/systemd/timesyncd.conf"
      break
    fi
    sleep 2
  done
fi`;
}
