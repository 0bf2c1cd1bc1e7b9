/** A model as the budget sees it. */
export interface Kept {
  name: string;
  /** Its blobs; two models may share one. */
  blobs: readonly { digest: string; bytes: number }[];
  lastUsedMs: number;
  /** Loaded now, or pinned by a setting: never removed. */
  held: boolean;
}

/** What has to go so that something fits. */
export interface Eviction {
  /** Names, the one that goes first first. */
  remove: readonly string[];
  /** What is still missing when all of them are gone, bytes; 0: it fits. Nothing is removed then, as it would be for nothing. */
  shortBytes: number;
}

/**
 * Chooses whom to remove, those that were not used for longest first, until so many bytes are free.
 * A model frees only blobs that no model which stays has too. @param freeBytes may be below zero: that much is over the budget
 */
export function planEviction(models: readonly Kept[], freeBytes: number, neededBytes: number): Eviction {
  const users = new Map<string, number>();
  for (const { blobs } of models)
    for (const digest of new Set(blobs.map((one) => one.digest))) users.set(digest, (users.get(digest) ?? 0) + 1);
  const remove: string[] = [];
  let free = freeBytes;
  const oldest = models.filter(({ held }) => !held).toSorted((a, b) => a.lastUsedMs - b.lastUsedMs);
  for (const model of oldest) {
    if (free >= neededBytes) break;
    remove.push(model.name);
    for (const [digest, bytes] of new Map(model.blobs.map((one) => [one.digest, one.bytes]))) {
      const left = (users.get(digest) ?? 1) - 1;
      users.set(digest, left);
      if (left === 0) free += bytes;
    }
  }
  return free >= neededBytes ? { remove, shortBytes: 0 } : { remove: [], shortBytes: neededBytes - free };
}
