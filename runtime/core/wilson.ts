/** How many standard deviations hold the middle 95 % of a normal distribution. */
const BOTH_SIDES_95 = 1.959964;
/** How many standard deviations below the mean 5 % of a normal distribution lie. */
const ONE_SIDE_95 = 1.644854;

/** A share with the bounds between which it lies with a confidence of 95 %, each from 0 to 1. */
export interface Share {
  share: number;
  least: number;
  most: number;
}

/** The share of hits with its 95 % interval after Wilson (1927), which holds for few trials too. Without a trial nothing is known: 0 to 1. */
export function shareOf(hits: number, trials: number): Share {
  if (trials <= 0) return { share: 0, least: 0, most: 1 };
  const { centre, reach } = wilson(hits, trials, BOTH_SIDES_95);
  return { share: hits / trials, least: Math.max(0, centre - reach), most: Math.min(1, centre + reach) };
}

/** What a share is at least, with a confidence of 95 %: the lower bound of Wilson's one-sided interval. Hits and trials may be sums of weights. 0 without a trial. */
export function leastShareOf(hits: number, trials: number): number {
  if (trials <= 0) return 0;
  const { centre, reach } = wilson(hits, trials, ONE_SIDE_95);
  return Math.max(0, centre - reach);
}

function wilson(hits: number, trials: number, z: number): { centre: number; reach: number } {
  const share = Math.min(1, hits / trials);
  const z2 = z * z;
  const scale = 1 + z2 / trials;
  return {
    centre: (share + z2 / (2 * trials)) / scale,
    reach: (z * Math.sqrt((share * (1 - share)) / trials + z2 / (4 * trials * trials))) / scale,
  };
}
