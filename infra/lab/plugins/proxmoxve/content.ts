import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { PveClient } from "./client.ts";
import { PveError } from "./client.ts";

const contentSchema = z.array(
  z.looseObject({ volid: z.string(), size: z.number().optional(), content: z.string().optional() }),
);

/** One volume of a datastore. */
export interface Volume {
  volid: string;
  /** Bytes. */
  size: number;
  content: string;
}

/** Volumes of one content type. @throws PveError naming the datastore when the host has none of that name. */
export async function listVolumes(
  client: PveClient,
  node: string,
  datastore: string,
  content: string,
  signal: AbortSignal,
): Promise<Volume[]> {
  const found = contentSchema.parse(
    await client.get(`nodes/${node}/storage/${datastore}/content`, { content }, signal),
  );
  return found.map(({ volid, size, content: kind }) => ({ volid, size: size ?? 0, content: kind ?? content }));
}

/** Waits for a volume to be listed: five looks with growing pauses, as distributed storage lags. */
export async function awaitVolume(
  client: PveClient,
  node: string,
  volid: string,
  content: string,
  signal: AbortSignal,
): Promise<Volume> {
  const [datastore = ""] = volid.split(":");
  for (let attempt = 1, delayMs = 200; ; attempt += 1, delayMs *= 2) {
    const found = (await listVolumes(client, node, datastore, content, signal)).find((item) => item.volid === volid);
    if (found !== undefined) return found;
    if (attempt >= 5) throw new Error(`${volid}: is not listed on ${node} after it was put there`);
    await sleep(delayMs, undefined, { signal });
  }
}

/** Deletes a volume, by its whole id or by its path in the datastore. One that is gone is no error. */
export async function deleteVolume(
  client: PveClient,
  node: string,
  datastore: string,
  volume: string,
  signal: AbortSignal,
): Promise<void> {
  const escaped = encodeURIComponent(volume).replaceAll("%3A", ":");
  try {
    await client.delete(`nodes/${node}/storage/${datastore}/content/${escaped}`, signal);
  } catch (error) {
    if (!(error instanceof PveError && (error.missing || error.message.includes("unable to parse")))) throw error;
  }
}
