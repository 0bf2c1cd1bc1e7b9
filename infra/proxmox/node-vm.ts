import * as proxmox from "@muhlba91/pulumi-proxmoxve";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { ArgsError, childName, HostName, parseArgs } from "../args.ts";
import type { HostKey } from "../ssh/host-key.ts";
import type { SshTarget } from "../ssh/connection.ts";
import type { AddressPlan } from "./address-plan.ts";
import type { Host } from "./host-pool.ts";
import { macAddressOf } from "./mac-address.ts";
import type { UbuntuImage } from "./ubuntu-image.ts";
import { SeedImage } from "./seed/seed-image.ts";

/** Ports that K3s needs open between the nodes: API server, kubelet, Flannel's VXLAN. Source: A20; K3s documentation, "Requirements". */
export const K3S_PORTS = [
  { port: 6443, protocol: "tcp", comment: "Kubernetes API" },
  { port: 10_250, protocol: "tcp", comment: "kubelet" },
  { port: 8472, protocol: "udp", comment: "Flannel VXLAN" },
] as const;

/** The VM's plain arguments, as they are checked. */
export const NodeVmSchema = z.strictObject({
  hostName: HostName,
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, { error: "want a Linux user name: a-z, 0-9, _ and -, at most 32" })
    .refine((user) => user !== "root", { error: "want a user other than root; root logs in nowhere" })
    .default("gorkheavy"),
  cores: z.int().min(1).max(512).default(4),
  memoryMib: z.int().min(512).default(8192),
  diskGib: z.int().min(8).default(32),
  packages: z.array(z.string().min(1)).default([]),
  firewall: z.boolean().default(false),
  guestAgent: z.boolean().default(false),
  tags: z
    .array(z.string().regex(/^[a-z0-9_][a-z0-9_.+-]*$/, { error: "want lower case letters, digits, _ . + -" }))
    .default(["gorkheavy", "k3s"]),
  protect: z.boolean().default(true),
  workDir: z
    .string()
    .regex(/^\/[^\n]*[^/\n]$/, { error: "want an absolute path that does not end with /" })
    .optional(),
});

/** Arguments of {@link NodeVm}. Sizes are the seed's (A07, A08). */
export interface NodeVmArgs {
  /** Where it runs. */
  host: Host;
  /** What its disk starts as. Read when the VM is made, never again. */
  image: UbuntuImage;
  /** Addresses; this VM is found in it by its host name, and has its VM id from it. */
  plan: AddressPlan;
  /** Host name, in `plan`. @default the component's name */
  hostName?: string;
  /** The machine's SSH key. */
  hostKey: HostKey;
  /** The key that the program logs in with. */
  clientKey: HostKey;
  /** More public keys that may log in, `ssh-ed25519 AAAA… name`. @default - none */
  authorizedKeys?: readonly string[];
  /** User on the machine, the same on every one (A10). @default "gorkheavy" */
  user?: string;
  /** Virtual cores. A change restarts the VM. @default 4 (A07) */
  cores?: number;
  /** Memory, MiB. A change restarts the VM. @default 8192 (A07) */
  memoryMib?: number;
  /** Disk, GiB; can grow, not shrink. @default 32 (A07) */
  diskGib?: number;
  /** Packages for the first boot. @default [] (A10) */
  packages?: readonly string[];
  /** Whether Proxmox filters this card's traffic; then only SSH, {@link K3S_PORTS} and what the nodes say among themselves comes in. @default false (A07, A08) */
  firewall?: boolean;
  /** Whether qemu-guest-agent runs inside (Ubuntu's cloud image has none: name it in `packages`). Only with it does a restart shut down first. @default false */
  guestAgent?: boolean;
  /** Labels in Proxmox. @default ["gorkheavy", "k3s"] */
  tags?: readonly string[];
  /** Whether Pulumi refuses to delete or replace the VM. Set false where machines come and go by the settings. @default true */
  protect?: boolean;
  /** Folder on the operator's machine for the seed image while it is uploaded. @default "/var/tmp/gorkheavy-<project>-<stack>" */
  workDir?: string;
}

/**
 * One machine of the cluster: a VM with the image as its disk and a seed of its own as its CD. Fixed VM id, fixed MAC address, so
 * a second preview is empty. Memory and cores change in place, by a restart. A VM that is replaced gets every step anew; one
 * that was deleted behind Pulumi's back comes back bare: take its node out of the settings, `up`, and put it in again. Takes its `command` provider from `opts`.
 */
export class NodeVm extends pulumi.ComponentResource {
  /** Host name. */
  readonly hostName: string;
  /** IPv4 address. */
  readonly address: string;
  /** How the steps reach it: user, keys, and the VM itself, so that whoever uses it waits for the VM. */
  readonly target: SshTarget;
  /** Figures whose change restarts the VM: triggers for what must then wait again. */
  readonly size: { cores: number; memoryMib: number };
  /** The VM, for `dependsOn`. */
  readonly vm: proxmox.VmLegacy;

  constructor(name: string, args: NodeVmArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:proxmox:NodeVm", name, {}, opts);
    const { host, image, plan, hostKey, clientKey, authorizedKeys, ...plain } = args;
    const spec = parseArgs(this, NodeVmSchema, { hostName: name, ...plain });
    const planned = plan.nodes.find((node) => node.name === spec.hostName);
    if (planned === undefined) {
      const known = plan.nodes.map((node) => node.name).join(", ");
      throw new ArgsError(
        `hostName: got "${spec.hostName}", which the address plan does not have; it has ${known}`,
        this,
      );
    }
    const macAddress = macAddressOf(planned.vmId);

    const seed = new SeedImage(
      childName(name, "seed"),
      {
        host,
        fileName: `${spec.hostName}-${planned.vmId}-seed.iso`,
        workDir: spec.workDir ?? `/var/tmp/gorkheavy-${pulumi.getProject()}-${pulumi.getStack()}`,
        seed: pulumi
          .all([hostKey.privateKey, hostKey.publicKey, clientKey.publicKey])
          .apply(([privateKey, publicKey, clientPublicKey]) => ({
            hostName: spec.hostName,
            user: spec.user,
            authorizedKeys: [clientPublicKey, ...(authorizedKeys ?? [])],
            hostKey: { privateKey, publicKey },
            instanceId: `${spec.hostName}-${planned.vmId}`,
            macAddress,
            address: planned.address,
            prefix: plan.prefix,
            gateway: plan.gateway,
            dns: plan.dns,
            packages: spec.packages,
          })),
      },
      { parent: this },
    );

    const disk = image.on(host);
    this.vm = new proxmox.VmLegacy(
      name,
      {
        nodeName: host.node,
        vmId: planned.vmId,
        name: spec.hostName,
        // Proxmox sorts and lowers tags; in another order each preview would show a change.
        tags: [...new Set(spec.tags)].sort(),
        onBoot: true,
        started: true,
        // Without a guest agent there is nobody to ask; with one, a machine that hangs must not stop a destroy.
        stopOnDestroy: true,
        operatingSystem: { type: "l26" },
        agent: { enabled: spec.guestAgent },
        cpu: { cores: spec.cores, type: "x86-64-v2-AES" },
        memory: { dedicated: spec.memoryMib },
        scsiHardware: "virtio-scsi-single",
        disks: [
          {
            interface: "scsi0",
            datastoreId: host.datastore,
            importFrom: disk.fileId,
            size: spec.diskGib,
            iothread: true,
            discard: "on",
            ssd: true,
          },
        ],
        cdrom: { interface: "ide2", fileId: seed.fileId },
        bootOrders: ["scsi0"],
        networkDevices: [{ bridge: host.bridge, model: "virtio", macAddress, firewall: spec.firewall }],
      },
      {
        parent: this,
        provider: host.provider,
        dependsOn: [disk.resource, seed],
        protect: spec.protect,
        // The VM id and the address are taken as long as the old one lives.
        deleteBeforeReplace: true,
      },
    );
    if (spec.firewall) addFirewall(name, this.vm, host, planned.vmId, plan.subnet, this);

    this.hostName = spec.hostName;
    this.address = planned.address;
    this.size = { cores: spec.cores, memoryMib: spec.memoryMib };
    this.target = {
      name: spec.hostName,
      host: planned.address,
      user: spec.user,
      privateKey: clientKey.privateKey,
      hostKey: hostKey.publicKey,
      machine: this.vm,
    };
    this.registerOutputs({ hostName: this.hostName, address: this.address });
  }
}

/** Proxmox's own filter for one VM: SSH, K3s' ports and the nodes' own traffic in, all out. */
function addFirewall(
  name: string,
  vm: proxmox.VmLegacy,
  host: Host,
  vmId: number,
  subnet: string,
  parent: pulumi.Resource,
): void {
  const opts = { parent, provider: host.provider, dependsOn: [vm], deletedWith: vm };
  const rules = new proxmox.firewall.RulesLegacy(
    childName(name, "firewall-rules"),
    {
      nodeName: host.node,
      vmId,
      rules: [{ port: 22, protocol: "tcp", comment: "SSH" }, ...K3S_PORTS].map(({ port, protocol, comment }) => ({
        type: "in",
        action: "ACCEPT",
        proto: protocol,
        dport: String(port),
        // The VXLAN port carries any pod's traffic, without a password: never from outside (K3s documentation, "Requirements").
        ...(protocol === "udp" ? { source: subnet } : {}),
        comment,
      })),
    },
    opts,
  );
  new proxmox.firewall.OptionsLegacy(
    childName(name, "firewall"),
    { nodeName: host.node, vmId, enabled: true, inputPolicy: "DROP", outputPolicy: "ACCEPT" },
    { ...opts, dependsOn: [vm, rules] },
  );
}
