import { endpoint } from "../http/endpoint.ts";
import { choice, common, flag, integer, pattern } from "../http/parameters.ts";
import { DRIVE_KEYS } from "../format/drive.ts";
import { badParameters } from "../api-error.ts";
import { assertMovable, assertResizable, moveDisk, resizeDisk } from "../vm/disks.ts";
import { assertNode } from "./checks.ts";
import { oneVm } from "./qemu.ts";

const driveKey = choice(...DRIVE_KEYS);

/** A VM's disks. */
export const diskEndpoints = [
  endpoint("PUT /nodes/{node}/qemu/{vmid}/resize", {
    summary: "Make a disk larger",
    parameters: {
      ...oneVm,
      disk: driveKey,
      size: pattern(/^\+?\d+(\.\d+)?[KMGT]?$/, "disk size"),
      digest: common.digest.optional(),
      skiplock: flag().optional(),
    },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      const { vmid, disk, size } = params;
      assertResizable(lab, vmid, disk, params.digest);
      return lab.tasks.start("resize", String(vmid), user, () => resizeDisk(lab, vmid, disk, size));
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/move_disk", {
    summary: "Move a disk to another datastore",
    parameters: {
      ...oneVm,
      disk: driveKey,
      storage: common.storage.optional(),
      format: choice("raw", "qcow2", "vmdk").optional(),
      delete: flag().optional(),
      digest: common.digest.optional(),
      bwlimit: integer(0).optional(),
      "target-vmid": common.vmId.optional(),
      "target-disk": driveKey.optional(),
      "target-digest": common.digest.optional(),
    },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      if (params["target-vmid"] !== undefined)
        throw badParameters({ "target-vmid": "the lab moves disks between datastores only" });
      if (params.storage === undefined) throw badParameters({ storage: "property is missing and it is not optional" });
      const { vmid: vmId, disk: key, storage, format, digest } = params;
      const order = { vmId, key, storage, format, digest, deleteOriginal: params.delete ?? false };
      assertMovable(lab, order);
      return lab.tasks.start("qmmove", String(vmId), user, ({ log }) =>
        moveDisk(lab, { ...order, digest: undefined }, log),
      );
    },
  }),
];
