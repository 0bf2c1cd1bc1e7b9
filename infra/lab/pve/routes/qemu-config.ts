import { endpoint } from "../http/endpoint.ts";
import { common, flag, integer, list, text } from "../http/parameters.ts";
import { badParameters } from "../api-error.ts";
import { digestOf } from "../format/vm-config-file.ts";
import { isCloudInit } from "../format/drive.ts";
import { failure } from "../api-error.ts";
import { drivesOf } from "../vm/drives.ts";
import { answerConfig, answerPending } from "../vm/status.ts";
import { updateVm } from "../vm/update.ts";
import { assertNode } from "./checks.ts";
import { oneVm } from "./qemu.ts";

const change = {
  ...oneVm,
  delete: list().optional(),
  revert: list().optional(),
  digest: common.digest.optional(),
  force: flag().optional(),
  skiplock: flag().optional(),
};

interface Change {
  vmid: number;
  delete?: string[] | undefined;
  revert?: string[] | undefined;
  digest?: string | undefined;
  skiplock?: boolean | undefined;
}

function orderOf(params: Change, options: Readonly<Record<string, string>>): Parameters<typeof updateVm>[2] {
  const none = (params.delete ?? []).length + (params.revert ?? []).length + Object.keys(options).length === 0;
  if (none) throw badParameters({ vmid: "no options specified" });
  return {
    vmId: params.vmid,
    delete: params.delete ?? [],
    revert: params.revert ?? [],
    digest: params.digest,
    skipLock: params.skiplock ?? false,
  };
}

/** A VM's options. */
export const configEndpoints = [
  endpoint("GET /nodes/{node}/qemu/{vmid}/config", {
    summary: "A VM's options, with pending changes unless `current` is set",
    parameters: { ...oneVm, current: flag().optional(), snapshot: text().optional() },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      if (params.snapshot !== undefined) throw failure(`snapshot '${params.snapshot}' does not exist`);
      const config = lab.vms.read(params.vmid);
      return { ...answerConfig(config, params.current ?? false), digest: digestOf(config) };
    },
  }),
  endpoint("PUT /nodes/{node}/qemu/{vmid}/config", {
    summary: "Change options, and wait until that is done",
    parameters: change,
    vmOptions: true,
    handle: async ({ lab, user, params, options }) => {
      assertNode(lab, params.node);
      await updateVm(lab, user, orderOf(params, options), options, () => undefined);
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/config", {
    summary: "Change options in a task",
    parameters: { ...change, background_delay: integer(1, 30).optional() },
    vmOptions: true,
    handle: ({ lab, user, params, options }) => {
      assertNode(lab, params.node);
      lab.vms.read(params.vmid);
      const order = orderOf(params, options);
      return lab.tasks.start("qmconfig", String(params.vmid), user, ({ log }) =>
        updateVm(lab, user, order, options, log),
      );
    },
  }),
  endpoint("GET /nodes/{node}/qemu/{vmid}/pending", {
    summary: "Options with the values that wait for the next cold start",
    parameters: oneVm,
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return answerPending(lab.vms.read(params.vmid));
    },
  }),
  endpoint("PUT /nodes/{node}/qemu/{vmid}/cloudinit", {
    summary: "Write the cloud-init drive anew",
    parameters: oneVm,
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      const { values } = lab.vms.read(params.vmid);
      if (!drivesOf(values).some(({ drive }) => isCloudInit(drive)))
        throw failure(`No cloud-init drive found for VM ${params.vmid}`);
    },
  }),
];
