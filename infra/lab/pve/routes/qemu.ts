import { endpoint } from "../http/endpoint.ts";
import { common, decimal, flag, integer, lines, text } from "../http/parameters.ts";
import { assertTemplatable, cloneVm, makeTemplate } from "../vm/clone.ts";
import { createVm } from "../vm/create.ts";
import { assertDestroyable, destroyVm } from "../vm/destroy.ts";
import { listedStatus } from "../vm/status.ts";
import { badParameters } from "../api-error.ts";
import { assertNode } from "./checks.ts";

/** Path parameters of one VM. */
export const oneVm = { node: common.node, vmid: common.vmId };

/** VMs as a whole: list, make, copy, remove. */
export const qemuEndpoints = [
  endpoint("GET /nodes/{node}/qemu", {
    summary: "VMs of a node",
    parameters: { node: common.node, full: flag().optional() },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return Promise.all(lab.vms.ids().map((vmId) => listedStatus(lab, vmId)));
    },
  }),
  endpoint("POST /nodes/{node}/qemu", {
    summary: "Make a VM",
    parameters: {
      ...oneVm,
      archive: text().optional(),
      bwlimit: integer(0).optional(),
      force: flag().optional(),
      "import-working-storage": common.storage.optional(),
      pool: common.poolId.optional(),
      start: flag().optional(),
      storage: common.storage.optional(),
      unique: flag().optional(),
    },
    vmOptions: true,
    handle: ({ lab, user, params, options }) => {
      assertNode(lab, params.node);
      if (params.archive !== undefined) throw badParameters({ archive: "the lab keeps no backups to restore from" });
      if (params.force === true) throw badParameters({ force: "option 'force' requires 'archive'" });
      return createVm(lab, user, { vmId: params.vmid, pool: params.pool, start: params.start ?? false }, options);
    },
  }),
  endpoint("DELETE /nodes/{node}/qemu/{vmid}", {
    summary: "Remove a VM and its disks",
    parameters: {
      ...oneVm,
      "destroy-unreferenced-disks": flag().optional(),
      purge: flag().optional(),
      skiplock: flag().optional(),
    },
    handle: async ({ lab, user, params }) => {
      assertNode(lab, params.node);
      const order = {
        vmId: params.vmid,
        unreferencedDisks: params["destroy-unreferenced-disks"] ?? false,
        skipLock: params.skiplock ?? false,
      };
      await assertDestroyable(lab, order);
      return lab.tasks.start("qmdestroy", String(params.vmid), user, ({ log }) => destroyVm(lab, order, log));
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/clone", {
    summary: "Copy a VM or a template",
    parameters: {
      ...oneVm,
      newid: common.vmId,
      bwlimit: decimal(0, Number.MAX_SAFE_INTEGER).optional(),
      description: lines().optional(),
      format: text().optional(),
      full: flag().optional(),
      name: common.dnsName.optional(),
      pool: common.poolId.optional(),
      snapname: text().optional(),
      storage: common.storage.optional(),
      target: common.node.optional(),
    },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      if (params.snapname !== undefined)
        throw badParameters({ snapname: `snapshot '${params.snapname}' does not exist` });
      const { vmid: vmId, newid: newId, name, description, pool, storage, format, full, target } = params;
      return cloneVm(lab, user, { vmId, newId, name, description, pool, storage, format, full, target });
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/template", {
    summary: "Turn a VM into a template",
    parameters: { ...oneVm, disk: text().optional() },
    handle: async ({ lab, user, params }) => {
      assertNode(lab, params.node);
      await assertTemplatable(lab, params.vmid);
      return lab.tasks.start("qmtemplate", String(params.vmid), user, () => makeTemplate(lab, params.vmid));
    },
  }),
];
