import type { Entry } from "./entry.ts";
import { placeEntries } from "./places.ts";
import { programEntries } from "./programs.ts";
import { sumEntries } from "./sums.ts";
import { talkEntries } from "./talk.ts";
import { termEntries } from "./terms.ts";
import { troubleEntries } from "./troubles.ts";

export { OUTSIDE, type Entry, type Topic } from "./entry.ts";
export { outsideQuestions, SYLLABLES } from "./outside.ts";

/** Every question of the little world. */
export function entries(): Entry[] {
  return [
    ...placeEntries(),
    ...sumEntries(),
    ...termEntries(),
    ...programEntries(),
    ...troubleEntries(),
    ...talkEntries(),
  ];
}
