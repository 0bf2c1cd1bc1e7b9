import { z } from "zod";
import { UNKNOWN } from "../provider.ts";
import type { Properties } from "../provider.ts";
import { checkShape, object, text, textLike } from "../shape.ts";
import { diffProperties, markReplaces, plainOf, rootOfPath } from "../values.ts";
import { PveError } from "./client.ts";
import type { PveClient } from "./client.ts";
import type { Resource } from "./resource.ts";

const shape = object({ comment: text, poolId: textLike(/^[A-Za-z0-9_./-]+$/, "letters, digits, _, - and .") }, [
  "poolId",
]);
const modelSchema = z.object({ poolId: z.string(), comment: z.string().default("") });
const answerSchema = z.array(
  z.looseObject({
    comment: z.string().optional(),
    members: z
      .array(
        z.looseObject({
          id: z.string(),
          node: z.string().default(""),
          storage: z.string().default(""),
          type: z.string().default(""),
          vmid: z.number().default(0),
        }),
      )
      .default([]),
  }),
);

/** `proxmoxve:index/poolLegacy:PoolLegacy`: a named group of VMs. */
export const poolResource: Resource = {
  async check({ news }) {
    return {
      inputs: Object.fromEntries(Object.entries(news).filter(([, value]) => value !== null)),
      failures: checkShape(news, shape),
    };
  },

  async diff({ olds, news }) {
    const wanted: Properties = { comment: "", ...news };
    const diffs = diffProperties({ poolId: olds["poolId"] ?? null, comment: olds["comment"] ?? "" }, wanted);
    const replaces = (path: string): boolean => path === "poolId";
    const roots = Object.keys(diffs).map(rootOfPath);
    return { changes: roots.length > 0, replaces: roots.filter(replaces), detailed: markReplaces(diffs, replaces) };
  },

  async create(call, client) {
    if (call.preview) return { id: "", properties: { ...call.inputs, members: UNKNOWN } };
    const pool = modelSchema.parse(plainOf(call.inputs));
    await client.post("pools", { comment: pool.comment, poolid: pool.poolId }, call.signal);
    return { id: pool.poolId, properties: await readPool(client, pool.poolId, call.signal) };
  },

  async read({ id, inputs, signal }, client) {
    try {
      const properties = await readPool(client, id, signal);
      return { id, inputs: inputs ?? { poolId: id, comment: properties["comment"] ?? "" }, properties };
    } catch (error) {
      if (error instanceof PveError && error.missing) return undefined;
      throw error;
    }
  },

  async update({ id, news, olds, preview, signal }, client) {
    if (preview) return { properties: { ...olds, ...news } };
    const { comment } = modelSchema.parse(plainOf(news));
    await client.put(`pools?poolid=${encodeURIComponent(id)}`, { comment }, signal);
    return { properties: await readPool(client, id, signal) };
  },

  async delete({ id, signal }, client) {
    try {
      await client.delete(`pools?poolid=${encodeURIComponent(id)}`, signal);
    } catch (error) {
      if (!(error instanceof PveError && error.missing)) throw error;
    }
  },
};

async function readPool(client: PveClient, poolId: string, signal: AbortSignal): Promise<Properties> {
  const [pool] = answerSchema.parse(await client.get("pools", { poolid: poolId }, signal));
  if (pool === undefined) throw new PveError(404, `pool '${poolId}' does not exist`);
  return {
    poolId,
    comment: pool.comment ?? "",
    members: pool.members.map(({ id, node, storage, type, vmid }) => ({
      id,
      nodeName: node,
      datastoreId: storage,
      type,
      vmId: vmid,
    })),
  };
}
