import { z } from "zod";
import type { PveClient } from "../client.ts";
import { PveError } from "../client.ts";
import { agentEnabled, decodeVm, drivesOf } from "./decode.ts";
import type { VmConfig } from "./decode.ts";
import type { Vm, VmState } from "./model.ts";
import { readConfig, readGuestInterfaces, readStatus } from "./power.ts";
import type { VmHandle } from "./power.ts";

const resourcesSchema = z.array(z.looseObject({ vmid: z.number().optional(), node: z.string().optional() }));
const poolsSchema = z.array(z.looseObject({ poolid: z.string() }));
const poolSchema = z.array(
  z.looseObject({
    poolid: z.string().optional(),
    members: z.array(z.looseObject({ id: z.string().optional() })).optional(),
  }),
);
const volumeSchema = z.looseObject({ format: z.string().optional() });

/** Reads a VM from its host, in the provider's order of requests. Undefined when it is gone. */
export async function readVm(vm: VmHandle, asked: Vm): Promise<VmState | undefined> {
  const { client, vmId, signal } = vm;
  const resources = resourcesSchema.parse(await client.get("cluster/resources", { type: "vm" }, signal));
  const node = resources.find((resource) => resource.vmid === vmId)?.node;
  if (node === undefined) return undefined;
  const here = { ...vm, node };
  let config: VmConfig;
  try {
    config = await readConfig(here);
  } catch (error) {
    if (error instanceof PveError && error.missing) return undefined;
    throw error;
  }
  const running = (await readStatus(here)) === "running";
  const formats = await readFormats(here, config);
  const poolId = await findPool(client, vmId, signal);
  const guest = running && agentEnabled(config) ? await readGuestInterfaces(here, asked.agent) : [];
  return decodeVm(node, vmId, config, running, { asked, poolId, guest, formats });
}

/** Formats of volumes whose name does not tell, as on LVM. */
async function readFormats(vm: VmHandle, config: VmConfig): Promise<Map<string, string>> {
  const formats = new Map<string, string>();
  for (const { volume, options } of drivesOf(config).values()) {
    const [datastore, name] = volume.split(":");
    if (datastore === undefined || name === undefined || options.get("media") === "cdrom") continue;
    if (options.has("format") || /\.[a-z0-9]+$/.test(name)) continue;
    const path = `nodes/${vm.node}/storage/${datastore}/content/${encodeURIComponent(volume).replaceAll("%3A", ":")}`;
    try {
      const { format } = volumeSchema.parse(await vm.client.get(path, undefined, vm.signal));
      if (format !== undefined) formats.set(volume, format);
    } catch (error) {
      // A volume that was deleted under the VM must not keep anybody from repairing it.
      if (!(error instanceof PveError && error.missing)) throw error;
    }
  }
  return formats;
}

async function findPool(client: PveClient, vmId: number, signal: AbortSignal): Promise<string> {
  const pools = poolsSchema.parse((await client.get("pools", undefined, signal)) ?? []);
  for (const { poolid } of pools) {
    const [pool] = poolSchema.parse(await client.get("pools", { poolid }, signal));
    if (pool?.members?.some((member) => member.id === `qemu/${vmId}`) === true) return poolid;
  }
  return "";
}
