import { renderVolumeId } from "../format/volume-id.ts";
import type { Datastore, Volume } from "../storage/datastore.ts";

/** A datastore as `GET nodes/{node}/storage` lists it. */
export async function answerDatastore(
  store: Datastore,
): Promise<Record<string, unknown> & { storage: string; type: string; content: string; total: number; used: number }> {
  const { totalBytes, usedBytes, availableBytes } = await store.space();
  return {
    storage: store.name,
    type: store.type,
    content: [...store.content].sort().join(","),
    active: 1,
    enabled: 1,
    shared: 0,
    total: totalBytes,
    used: usedBytes,
    avail: availableBytes,
    used_fraction: totalBytes === 0 ? 0 : usedBytes / totalBytes,
  };
}

/** A volume as the content list has it. */
export function answerVolume(store: Datastore, volume: Volume): Record<string, unknown> {
  return {
    volid: renderVolumeId({ storage: store.name, name: volume.name }),
    content: volume.content,
    format: volume.format,
    size: volume.sizeBytes,
    used: volume.content === "images" ? volume.usedBytes : undefined,
    ctime: volume.createdAt,
    vmid: volume.vmId,
  };
}
