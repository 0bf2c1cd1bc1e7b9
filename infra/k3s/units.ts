/** Which of K3s' two services. */
export type K3sRole = "server" | "agent";

/** Name of the systemd unit. Source: K3s' install script. */
export function unitName(role: K3sRole): "k3s" | "k3s-agent" {
  return role === "server" ? "k3s" : "k3s-agent";
}

/** The unit, as K3s' own install script writes it (v1.34.2), so that K3s' documentation and tools fit. */
export function renderUnit(role: K3sRole): string {
  return `[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/${unitName(role)}.service.env
KillMode=process
Delegate=yes
User=root
# Having non-zero Limit*s causes performance problems due to accounting overhead
# in the kernel. We recommend using cgroups to do container-local accounting.
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \\
    ${role}
`;
}

/** Ends K3s and all its containers on a node, and takes its mounts and network away; the data stays. */
export function renderKillAll(): string {
  return `#!/bin/sh
# Stops K3s, its containers, mounts and network. Data and settings stay.
systemctl stop k3s.service k3s-agent.service 2>/dev/null
for pid in $(pgrep -f '/containerd-shim' 2>/dev/null); do
  if tr '\\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q -e k3s -e k8s.io; then
    for child in $(pgrep -P "$pid"); do kill -9 "$child" 2>/dev/null; done
    kill -9 "$pid" 2>/dev/null
  fi
done
for root in /run/k3s /var/lib/rancher/k3s /var/lib/kubelet/pods /var/lib/kubelet/plugins /run/netns/cni-; do
  awk -v root="$root" 'index($2, root) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r mount; do
    umount -f "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null
  done
done
for space in $(ip netns list 2>/dev/null | awk '/^cni-/ { print $1 }'); do ip netns delete "$space"; done
for link in cni0 flannel.1 flannel-v6.1 kube-ipvs0; do ip link delete "$link" 2>/dev/null; done
rm -rf /var/lib/cni/
for family in iptables ip6tables; do
  command -v "$family-save" >/dev/null || continue
  "$family-save" 2>/dev/null | grep -v -e KUBE- -e CNI- -e -i flannel | "$family-restore" 2>/dev/null
done
exit 0`;
}

/** Removes K3s from a node, data and all. */
export function renderUninstall(): string {
  return `#!/bin/sh
# Removes K3s with its data from this node.
systemctl disable k3s.service k3s-agent.service 2>/dev/null
if [ -x /usr/local/bin/k3s-killall.sh ]; then /usr/local/bin/k3s-killall.sh; fi
rm -f /etc/systemd/system/k3s.service /etc/systemd/system/k3s-agent.service
rm -f /etc/systemd/system/k3s.service.env /etc/systemd/system/k3s-agent.service.env
systemctl daemon-reload
for tool in kubectl crictl ctr; do
  if [ "$(readlink "/usr/local/bin/$tool" 2>/dev/null)" = k3s ]; then rm -f "/usr/local/bin/$tool"; fi
done
rm -rf /etc/rancher/k3s /etc/rancher/node /run/k3s /run/flannel /var/lib/rancher/k3s /var/lib/kubelet
rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh /usr/local/bin/k3s-uninstall.sh
exit 0`;
}
