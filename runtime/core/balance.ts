/** A pod that may be called. */
export interface Choosable {
  pod: string;
  /** Calls on their way to it now, those of the same key not counted. */
  load: number;
}

/** How much more than the mean of all a pod may be loaded and still be chosen for what it has read before. Source: KubeAI's default load factor (CHWBL). */
const LOAD_FACTOR = 1.25;

/**
 * The pod for a call: the same one for the same key, as long as it is no busier than the others.
 *
 * Why so: a model server keeps what it has read of a prompt, and the prompts of one conversation (and the judge's within one question) only grow
 * at their ends, so the pod that had the last one has most of the next one read already; on a CPU that is seconds. A random choice, of two or of
 * all, would read it anew every other time. But a server with one slot makes a second call wait for a whole answer, which is dearer than any
 * reading, so a pod that is busier than a quarter above the mean is passed over; for two pods that means: the idle one. Rendezvous hashing keeps
 * nothing in memory, moves only the keys of a pod that goes or comes, and gives the same choice in every replica of the service.
 * @param pods not empty.
 */
export function choosePod(pods: readonly Choosable[], key: string): string {
  const least = Math.min(...pods.map(({ load }) => load));
  const mean = pods.reduce((sum, { load }) => sum + load, 0) / pods.length;
  const bound = Math.max(least, Math.floor(mean * LOAD_FACTOR));
  let best: { pod: string; rank: number } | undefined;
  for (const { pod, load } of pods) {
    if (load > bound) continue;
    const rank = hash(`${key}\n${pod}`);
    if (best === undefined || rank > best.rank) best = { pod, rank };
  }
  if (best === undefined) throw new RangeError("choosePod wants at least one pod");
  return best.pod;
}

/** FNV-1a of 32 bits with murmur3's last mix, without which names that differ in one digit rank alike. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
