import { badParameters, errorText, failure } from "../api-error.ts";
import { isCdrom, isCloudInit, renderDrive } from "../format/drive.ts";
import { parseNet, renderNet } from "../format/net.ts";
import { renderVolumeId } from "../format/volume-id.ts";
import { emptyVmConfig, withPending } from "../format/vm-config-file.ts";
import type { VmConfig } from "../format/vm-config-file.ts";
import type { Lab } from "../lab.ts";
import { baseNameOf, copyDisk } from "./disks.ts";
import { drivesOf, freeVolumes, realizeDrives } from "./drives.ts";
import { newMacAddress, newUuid } from "./edits.ts";
import { isRunning } from "./lifecycle.ts";
import { assertUnlocked, isOn } from "./store.ts";

/** What a clone request says. */
export interface CloneOrder {
  vmId: number;
  newId: number;
  name: string | undefined;
  description: string | undefined;
  pool: string | undefined;
  /** Datastore of the copies; where the originals lie, when absent. */
  storage: string | undefined;
  format: string | undefined;
  /** A copy that stands alone; a template's clone may instead refer to the template. */
  full: boolean | undefined;
  target: string | undefined;
}

/** Copies a VM: the new one appears at once, locked, and a task (`qmclone`) copies its disks. Answers the task's UPID. */
export async function cloneVm(lab: Lab, user: string, order: CloneOrder): Promise<string> {
  const { vmId, newId } = order;
  const source = await lab.locks.run(vmId, async () => {
    const config = lab.vms.read(vmId);
    assertUnlocked(config);
    return config;
  });
  const isTemplate = isOn(source, "template");
  const full = order.full ?? !isTemplate;
  if (!full && !isTemplate)
    throw badParameters({ full: "Linked clone feature is not supported for a VM that is no template" });
  if (!full && order.storage !== undefined)
    throw badParameters({ storage: "parameter 'storage' not allowed for linked clones" });
  if (!full && order.format !== undefined)
    throw badParameters({ format: "parameter 'format' not allowed for linked clones" });
  if (order.target !== undefined && order.target !== lab.node) throw failure(`no such cluster node '${order.target}'`);
  if (order.storage !== undefined) lab.datastores.get(order.storage).assertHolds("images");
  if (order.pool !== undefined) lab.pools.get(order.pool);
  await lab.locks.run(newId, async () => {
    if (lab.vms.has(newId)) throw failure(`unable to create VM ${newId}: config file already exists`);
    await lab.vms.write(newId, { ...emptyVmConfig(), values: { lock: "clone" } });
  });
  return lab.tasks.start("qmclone", String(vmId), user, ({ log }) =>
    lab.locks.run(newId, async () => {
      const created: string[] = [];
      try {
        await lab.vms.write(newId, await clonedConfig(lab, order, source, created, log));
        if (order.pool !== undefined) await lab.pools.add(order.pool, [newId], [], true);
      } catch (error) {
        await freeVolumes(lab, created);
        await lab.vms.remove(newId);
        throw failure(`clone failed: ${errorText(error)}`);
      }
    }),
  );
}

async function clonedConfig(
  lab: Lab,
  order: CloneOrder,
  source: VmConfig,
  created: string[],
  log: (line: string) => void,
): Promise<VmConfig> {
  const { vmId, newId } = order;
  const from = withPending(source);
  const values: Record<string, string> = {};
  for (const [key, value] of Object.entries(from)) {
    if (/^(template|lock|parent|snaptime|vmgenid|protection)$/.test(key) || /^unused\d+$/.test(key)) continue;
    values[key] = /^net\d+$/.test(key) ? renderNet({ ...parseNet(value), macAddress: newMacAddress() }) : value;
  }
  for (const { key, drive } of drivesOf(from)) {
    if (isCloudInit(drive)) {
      const storage = order.storage ?? lab.datastores.resolve(drive.file).store.name;
      const made = await realizeDrives(lab, newId, { [key]: `${storage}:cloudinit` }, log);
      created.push(...made.created);
      Object.assign(values, made.values);
    } else if (!isCdrom(drive)) {
      log(`create full clone of drive ${key} (${drive.file})`);
      const file = await copyDisk(
        lab,
        newId,
        drive.file,
        order.storage ?? lab.datastores.resolve(drive.file).store.name,
        order.format,
      );
      created.push(file);
      values[key] = renderDrive({ ...drive, file });
    }
  }
  values["smbios1"] = `uuid=${newUuid()}`;
  values["vmgenid"] = newUuid();
  values["name"] = order.name ?? `Copy-of-VM-${from["name"] ?? vmId}`;
  if (order.description !== undefined) values["description"] = order.description;
  return { ...emptyVmConfig(), values };
}

/** Checks what turning a VM into a template can be refused for. @throws ApiError 500 */
export async function assertTemplatable(lab: Lab, vmId: number): Promise<void> {
  const config = lab.vms.read(vmId);
  assertUnlocked(config);
  if (isOn(config, "template")) throw failure("you can't convert a template to a template");
  if (await isRunning(lab, vmId)) throw failure("you can't convert a VM to template if VM is running");
}

/** Turns a VM into a template: it starts no more, and its disks are called `base-…`. */
export async function makeTemplate(lab: Lab, vmId: number): Promise<void> {
  await lab.locks.run(vmId, async () => {
    await assertTemplatable(lab, vmId);
    const config = lab.vms.read(vmId);
    // The flag first: a template with some disks still to rename is a template; a VM with renamed disks would be broken.
    config.values["template"] = "1";
    for (const { key, drive } of drivesOf(config.values)) {
      if (isCdrom(drive)) continue;
      const { store, name } = lab.datastores.resolve(drive.file);
      const newName = baseNameOf(name);
      if (newName === name) continue;
      await store.renameDisk(name, newName);
      config.values[key] = renderDrive({ ...drive, file: renderVolumeId({ storage: store.name, name: newName }) });
      await lab.vms.write(vmId, config);
    }
    await lab.vms.write(vmId, config);
  });
}
