import type { Entry } from "./entry.ts";

/** Largest number in a question. */
const MOST = 10;

const SIGNS = [
  { sign: "+", word: "plus", of: (a: number, b: number): number => a + b },
  { sign: "-", word: "minus", of: (a: number, b: number): number => a - b },
  { sign: "*", word: "times", of: (a: number, b: number): number => a * b },
] as const;

/** Sums, differences and products of whole numbers from 0 to 10; differences are never negative. */
export function sumEntries(): Entry[] {
  const entries: Entry[] = [];
  for (const { sign, word, of } of SIGNS) {
    for (let a = 0; a <= MOST; a++) {
      for (let b = 0; b <= (sign === "-" ? a : MOST); b++) {
        entries.push({
          key: `sum/${a}${sign}${b}`,
          topic: "sums",
          question: `What is ${a} ${sign} ${b}?`,
          ways: [
            `${a} ${sign} ${b}`,
            `${a}${sign}${b}=?`,
            `what is ${a} ${word} ${b}`,
            `Calculate ${a} ${sign} ${b}.`,
            `How much is ${a} ${word} ${b}?`,
            `${a} ${word} ${b}?`,
          ],
          full: `${a} ${sign} ${b} is ${of(a, b)}.`,
          brief: `The result is ${of(a, b)}.`,
        });
      }
    }
  }
  return entries;
}
