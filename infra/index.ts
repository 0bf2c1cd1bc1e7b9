/**
 * From bare Proxmox hosts to a Ready cluster. Every component takes its providers explicitly: `proxmoxve` ones are made by
 * {@link HostPool}, the `command` one comes from `opts.providers`, and the cluster's own is its output.
 */
export { ArgsError, childName, later, parseArgs } from "./args.ts";
export {
  type AddressPlan,
  AddressPlanError,
  type AddressPlanInput,
  DEFAULT_DNS,
  planAddresses,
  type PlannedNode,
} from "./proxmox/address-plan.ts";
export { checkHosts } from "./proxmox/host-check.ts";
export { type Host, type HostArgs, HostPool, type HostPoolArgs, tokenProblem } from "./proxmox/host-pool.ts";
export { macAddressOf } from "./proxmox/mac-address.ts";
export { K3S_PORTS, NodeVm, type NodeVmArgs } from "./proxmox/node-vm.ts";
export type { SeedSpec } from "./proxmox/seed/cloud-init.ts";
export { SeedImage, type SeedImageArgs } from "./proxmox/seed/seed-image.ts";
export {
  DEFAULT_IMAGE_SHA256,
  DEFAULT_IMAGE_URL,
  type HostImage,
  UbuntuImage,
  type UbuntuImageArgs,
} from "./proxmox/ubuntu-image.ts";
export type { SshTarget } from "./ssh/connection.ts";
export { HostKey, type HostKeyArgs } from "./ssh/host-key.ts";
export { NodePrep, type NodePrepArgs } from "./ssh/node-prep.ts";
export { RemoteStep, type RemoteStepArgs } from "./ssh/remote-step.ts";
export type { K3sSettingsArgs } from "./k3s/config.ts";
export { K3sAgent, type K3sAgentArgs } from "./k3s/k3s-agent.ts";
export { K3sCluster, type K3sClusterArgs, type KubeTarget } from "./k3s/k3s-cluster.ts";
export type { K3sNodeArgs } from "./k3s/k3s-node.ts";
export { K3sServer, type K3sServerArgs } from "./k3s/k3s-server.ts";
export { K3S_RELEASE_URL, K3S_VERSION, type K3sReleaseArgs } from "./k3s/release.ts";
