import { endpoint } from "../http/endpoint.ts";
import type { Call } from "../http/endpoint.ts";
import { choice, common, flag, lines, list, text } from "../http/parameters.ts";
import { badParameters, failure } from "../api-error.ts";
import type { Lab } from "../lab.ts";
import type { Pool } from "../pools.ts";

const membership = {
  poolid: common.poolId,
  comment: lines().optional(),
  vms: list().optional(),
  storage: list().optional(),
  delete: flag().optional(),
  "allow-move": flag().optional(),
};

/** Pools: named groups of VMs and datastores. */
export const poolEndpoints = [
  endpoint("GET /pools", {
    summary: "Pools, or one with its members",
    parameters: { poolid: common.poolId.optional(), type: choice("qemu", "lxc", "storage").optional() },
    handle: ({ lab, params }) => {
      if (params.poolid === undefined) return lab.pools.all().map(({ poolid, comment }) => ({ poolid, comment }));
      return [answerPool(lab, lab.pools.get(params.poolid), params.type)];
    },
  }),
  endpoint("POST /pools", {
    summary: "Make a pool",
    parameters: { poolid: common.poolId, comment: lines().optional() },
    handle: ({ lab, params }) => lab.pools.create(params.poolid, params.comment),
  }),
  endpoint("PUT /pools", { summary: "Change a pool's comment or members", parameters: membership, handle: updatePool }),
  endpoint("DELETE /pools", {
    summary: "Remove an empty pool",
    parameters: { poolid: common.poolId },
    handle: ({ lab, params }) => lab.pools.remove(params.poolid),
  }),
  endpoint("GET /pools/{poolid}", {
    summary: "One pool with its members",
    parameters: { poolid: common.poolId, type: text().optional() },
    handle: ({ lab, params }) => {
      const { comment, members } = answerPool(lab, lab.pools.get(params.poolid), params.type);
      return { comment, members };
    },
  }),
  endpoint("PUT /pools/{poolid}", {
    summary: "Change a pool's comment or members",
    parameters: membership,
    handle: updatePool,
  }),
  endpoint("DELETE /pools/{poolid}", {
    summary: "Remove an empty pool",
    parameters: { poolid: common.poolId },
    handle: ({ lab, params }) => lab.pools.remove(params.poolid),
  }),
];

interface Membership {
  poolid: string;
  comment?: string | undefined;
  vms?: string[] | undefined;
  storage?: string[] | undefined;
  delete?: boolean | undefined;
  "allow-move"?: boolean | undefined;
}

async function updatePool({ lab, params }: Call<Membership>): Promise<void> {
  lab.pools.get(params.poolid);
  const vms = (params.vms ?? []).map((text) => {
    const vmId = Number(text);
    if (!/^\d+$/.test(text)) throw badParameters({ vms: "invalid format - value does not look like a valid VM ID" });
    if (params.delete !== true && !lab.vms.has(vmId)) throw failure(`VM ${vmId} does not exist`);
    return vmId;
  });
  const storage = params.storage ?? [];
  if (params.comment !== undefined) await lab.pools.comment(params.poolid, params.comment);
  if (vms.length + storage.length === 0) return;
  if (params.delete === true) await lab.pools.drop(params.poolid, vms, storage);
  else {
    for (const name of storage) lab.datastores.get(name);
    await lab.pools.add(params.poolid, vms, storage, params["allow-move"] ?? false);
  }
}

function answerPool(lab: Lab, pool: Pool, type: string | undefined): Record<string, unknown> & { poolid: string } {
  const vms = pool.vms
    .filter((vmId) => lab.vms.has(vmId))
    .map((vmid) => ({
      id: `qemu/${vmid}`,
      type: "qemu",
      node: lab.node,
      vmid,
      name: lab.vms.read(vmid).values["name"] ?? `VM ${vmid}`,
    }));
  const stores = pool.storage.map((storage) => ({
    id: `storage/${lab.node}/${storage}`,
    type: "storage",
    node: lab.node,
    storage,
  }));
  return {
    poolid: pool.poolid,
    comment: pool.comment,
    members: [...vms, ...stores].filter((member) => type === undefined || member.type === type),
  };
}
