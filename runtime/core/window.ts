/**
 * Turns by which the start of what is shown moves on. A model server keeps what it has read of a prompt and reads only what comes after the first
 * difference; a start that moved with every question would have the whole conversation read again each time.
 */
export const BLOCK_TURNS = 4;

/**
 * Turns of a conversation that are left out before the first that is shown: a multiple of the block, so that between two moves the turns shown for one
 * question are the beginning of those for the next.
 * @param count turns that there ever were in the conversation, those that are forgotten too
 * @param least at least so many are shown when there are that many, and up to `BLOCK_TURNS - 1` more; 0 shows none
 */
export function shownFrom(count: number, least: number): number {
  if (least === 0) return count;
  return Math.max(0, Math.floor((count - least) / BLOCK_TURNS) * BLOCK_TURNS);
}

/** Most turns that are ever shown. */
export function mostShown(least: number): number {
  return least === 0 ? 0 : least + BLOCK_TURNS - 1;
}

/**
 * The turns that are shown.
 * @param kept the newest turns, oldest first; at least `mostShown(least)` of them when there were that many
 * @param count as for `shownFrom`; at least the number of those kept
 */
export function windowOf<T>(kept: readonly T[], count: number, least: number): readonly T[] {
  const forgotten = count - kept.length;
  return kept.slice(Math.max(0, shownFrom(count, least) - forgotten));
}

/**
 * Turns to leave out from the oldest where the context window has no room for all: in blocks too, of at most half of what fits (rounded up), so
 * that never more than half of that is given away for it.
 * @param count turns there are
 * @param fitting how many of the newest ones fit
 */
export function leftOut(count: number, fitting: number): number {
  if (fitting === 0 || fitting >= count) return count - Math.min(fitting, count);
  const half = (fitting + 1) / 2;
  const block = Math.min(BLOCK_TURNS, 2 ** Math.floor(Math.log2(half)));
  return Math.ceil((count - fitting) / block) * block;
}
