import { z } from "zod";
import type { Properties } from "../provider.ts";
import { checkShape, object, text } from "../shape.ts";
import { plainOf } from "../values.ts";
import type { PveClient } from "./client.ts";

const versionSchema = z.looseObject({ release: z.string(), repoid: z.string(), version: z.string() });
const nodesSchema = z.array(
  z.looseObject({
    node: z.string(),
    status: z.string(),
    cpu: z.number().default(0),
    maxcpu: z.number().default(0),
    mem: z.number().default(0),
    maxmem: z.number().default(0),
    uptime: z.number().default(0),
    level: z.string().default(""),
    ssl_fingerprint: z.string().default(""),
  }),
);
const storagesSchema = z.array(
  z.looseObject({
    storage: z.string(),
    type: z.string(),
    content: z.string().default(""),
    active: z.number().default(0),
    enabled: z.number().default(0),
    shared: z.number().default(0),
    avail: z.number().default(0),
    total: z.number().default(0),
    used: z.number().default(0),
    used_fraction: z.number().default(0),
  }),
);

/** How long a host may take to list its datastores, in milliseconds: a program waits for its open calls even after it failed. */
const LIST_TIMEOUT_MS = 10_000;

type Invoke = (args: Properties, client: PveClient, signal: AbortSignal) => Promise<Properties>;

/** The provider's functions that the lab has, by token. */
export const functions: Record<string, Invoke> = {
  "proxmoxve:index/getVersion:getVersion": async (_args, client, signal) => {
    const { release, repoid, version } = versionSchema.parse(await client.get("version", undefined, signal));
    return { id: "version", release, repositoryId: repoid, version };
  },

  "proxmoxve:index/getNodesLegacy:getNodesLegacy": async (_args, client, signal) => {
    const nodes = nodesSchema.parse(await client.get("nodes", undefined, signal));
    nodes.sort((left, right) => (left.node < right.node ? -1 : 1));
    return {
      id: "nodes",
      cpuCounts: nodes.map((node) => node.maxcpu),
      cpuUtilizations: nodes.map((node) => node.cpu),
      memoryAvailables: nodes.map((node) => node.maxmem),
      memoryUseds: nodes.map((node) => node.mem),
      names: nodes.map((node) => node.node),
      onlines: nodes.map((node) => node.status === "online"),
      sslFingerprints: nodes.map((node) => node.ssl_fingerprint),
      supportLevels: nodes.map((node) => node.level),
      uptimes: nodes.map((node) => node.uptime),
    };
  },

  "proxmoxve:index/getDatastores:getDatastores": async (args, client, signal) => {
    const [failure] = checkShape(args, object({ nodeName: text }, ["nodeName"]));
    if (failure !== undefined) throw new Error(`getDatastores: ${failure.property}: ${failure.reason}`);
    const nodeName = z.string().parse(plainOf(args["nodeName"]));
    const limit = AbortSignal.timeout(LIST_TIMEOUT_MS);
    const listed = client.get(`nodes/${nodeName}/storage`, undefined, AbortSignal.any([signal, limit]));
    const storages = storagesSchema.parse(
      await listed.catch((cause: unknown) => {
        if (!limit.aborted) throw cause;
        throw new Error(`timeout: no answer within ${String(LIST_TIMEOUT_MS / 1000)} s`, { cause });
      }),
    );
    return {
      nodeName,
      datastores: storages.map((storage) => ({
        id: storage.storage,
        nodeName,
        type: storage.type,
        contentTypes: storage.content.split(",").filter(Boolean).sort(),
        active: storage.active === 1,
        enabled: storage.enabled === 1,
        shared: storage.shared === 1,
        spaceAvailable: storage.avail,
        spaceTotal: storage.total,
        spaceUsed: storage.used,
        spaceUsedFraction: storage.used_fraction,
      })),
    };
  },
};
