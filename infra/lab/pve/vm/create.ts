import { badParameters, failure } from "../api-error.ts";
import { emptyVmConfig } from "../format/vm-config-file.ts";
import type { VmConfig } from "../format/vm-config-file.ts";
import type { Lab } from "../lab.ts";
import { drivesOf, freeVolumes, realizeDrives } from "./drives.ts";
import { newUuid, normalizeNet } from "./edits.ts";
import { ROOT_ONLY } from "./options.ts";
import { startVm } from "./lifecycle.ts";

/** What else a create request may say. */
export interface CreateOrder {
  vmId: number;
  pool: string | undefined;
  start: boolean;
}

/** @throws ApiError 500 for an option that the user may not set */
export function assertMaySet(user: string, keys: Iterable<string>): void {
  for (const key of keys)
    if (ROOT_ONLY.has(key) && user !== "root@pam") throw failure(`only root can set '${key}' config`);
}

/** Options as requests give them, in the form that is stored: `cdrom` is `ide2`, cards have addresses. Drives stay as ordered. */
export function normalizeOptions(options: Readonly<Record<string, string>>): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [key, value] of Object.entries(options)) {
    if (key === "cdrom") values["ide2"] = value.includes("media=") ? value : `${value},media=cdrom`;
    else values[key] = /^net\d+$/.test(key) ? normalizeNet(value) : value;
  }
  return values;
}

/** Checks each line of a percent-encoded key list by its form, as `ssh-keygen -l` would. @throws ApiError */
export function assertSshKeys(encoded: string | undefined): void {
  if (encoded === undefined) return;
  let decoded: string;
  try {
    decoded = decodeURIComponent(encoded);
  } catch {
    throw badParameters({ sshkeys: "invalid format - invalid urlencoded string" });
  }
  for (const line of decoded.split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (!/^(?:.+\s)?(?:ssh|ecdsa|sk)-[a-z0-9@.-]+\s+[A-Za-z0-9+/]+=*(?:\s.*)?$/.test(line.trim()))
      throw failure("SSH public key validation error");
  }
}

/**
 * Creates a VM: the configuration appears at once, locked, and a task (`qmcreate`) makes the disks. A task that fails leaves nothing.
 * Answers the task's UPID. @throws ApiError 500 when the id is taken or a datastore does not exist
 */
export async function createVm(
  lab: Lab,
  user: string,
  order: CreateOrder,
  options: Readonly<Record<string, string>>,
): Promise<string> {
  const { vmId } = order;
  assertMaySet(user, Object.keys(options));
  assertSshKeys(options["sshkeys"]);
  if (order.pool !== undefined) lab.pools.get(order.pool);
  const values = normalizeOptions(options);
  for (const { drive } of drivesOf(values)) assertDatastoreOf(lab, drive.file);
  await lab.locks.run(vmId, async () => {
    if (lab.vms.has(vmId))
      throw failure(`unable to create VM ${vmId} - VM ${vmId} already exists on node '${lab.node}'`);
    await lab.vms.write(vmId, { ...emptyVmConfig(), values: { lock: "create" } });
  });
  return lab.tasks.start("qmcreate", String(vmId), user, async ({ log }) => {
    await lab.locks.run(vmId, async () => {
      try {
        const disks = await realizeDrives(lab, vmId, values, log);
        try {
          await lab.vms.write(vmId, createdConfig(lab, { ...values, ...disks.values }));
          if (order.pool !== undefined) await lab.pools.add(order.pool, [vmId], [], true);
        } catch (error) {
          await freeVolumes(lab, disks.created);
          throw error;
        }
      } catch (error) {
        await lab.vms.remove(vmId);
        throw failure(`unable to create VM ${vmId} - ${error instanceof Error ? error.message : String(error)}`);
      }
    });
    if (order.start) await startVm(lab, vmId, log);
  });
}

function createdConfig(lab: Lab, values: Record<string, string>): VmConfig {
  const meta = `creation-qemu=${QEMU_VERSION},ctime=${Math.floor(lab.now() / 1000)}`;
  return { ...emptyVmConfig(), values: { smbios1: `uuid=${newUuid()}`, vmgenid: newUuid(), meta, ...values } };
}

/** Version of QEMU that goes with the Proxmox VE version the lab says it is. */
const QEMU_VERSION = "10.0.2";

/** @throws ApiError 500 when a drive names a datastore that does not exist */
export function assertDatastoreOf(lab: Lab, file: string): void {
  const storage = /^([a-z][a-z0-9\-_.]*[a-z0-9]):/i.exec(file)?.[1];
  if (storage !== undefined) lab.datastores.get(storage);
}
