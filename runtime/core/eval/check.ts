import type { EvalCheck } from "../../contracts/eval.ts";

/** Longest part of an answer that is looked at, UTF-16 units. */
const MOST_CHARS = 20_000;

/** Ways of saying that one does not know, or that what was asked about is not there. */
const NOT_KNOWN =
  /(?:do(?:n't| not)|does(?:n't| not)|can(?:not|'t| not)|could(?:n't| not)|no way (?:of|to)|impossible to|unable to|not able to|not possible to) (?:\w+ ){0,2}?(?:know|tell|say|determine|predict|access|see|guess|verify|confirm|find|have (?:access|information|any information|enough information|a record))|not (?:known|certain|sure|aware|enough information|a real|real)|unknown|no (?:information|record|evidence|such|king|queen|one|data|reliable)|fictional|fictitious|made[- ]up|does(?:n't| not) exist|did(?:n't| not) exist|do(?:n't| not) exist|never existed|(?:was|were|is|are|has|have) (?:never|no|not|n't)|wasn't|isn't|hasn't|nobody|no one/;

/** Whether an answer is right. */
export function isRight(answer: string, check: EvalCheck): boolean {
  const text = answer.slice(0, MOST_CHARS);
  switch (check.kind) {
    case "exact":
      return check.values.some((value) => plain(value) === plain(text));
    case "contains": {
      const has = holder(text);
      const { all = [], any, none = [] } = check;
      return all.every(has) && (any === undefined || any.some(has)) && !none.some(has);
    }
    case "number":
      return numberFits(text, check);
    case "regex":
      return check.patterns.every((pattern) => new RegExp(pattern, "imu").test(text));
    case "choice":
      return choiceOf(text) === check.value;
    case "unknown":
      return NOT_KNOWN.test(plain(text));
  }
}

/** Lower case, plain quotes, single blanks, no closing punctuation and no marks of emphasis. */
function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[’‘`´]/g, "'")
    .replace(/[*_"“”]/g, "")
    .replace(/\s+/g, " ")
    .trim()
    .replace(/[.!,;:]+$/, "");
}

/** Tells whether a text has a word or phrase as a whole: `4` is not in `42`. */
function holder(text: string): (part: string) => boolean {
  const inside = ` ${plain(text)} `;
  return (part) => {
    const wanted = plain(part);
    for (let at = inside.indexOf(wanted); at !== -1; at = inside.indexOf(wanted, at + 1))
      if (isEdge(inside, at - 1, wanted[0]) && isEdge(inside, at + wanted.length, wanted.at(-1))) return true;
    return false;
  };
}

const WORDLIKE = /[\p{L}\p{N}]/u;

/** Whether a word ends here: beside a sign it always does. */
function isEdge(text: string, at: number, inner = ""): boolean {
  return !WORDLIKE.test(inner) || !WORDLIKE.test(text[at] ?? " ");
}

const SCALES: Readonly<Record<string, number>> = { thousand: 1e3, million: 1e6, billion: 1e9 };

function numberFits(text: string, { value, tolerance, which }: Extract<EvalCheck, { kind: "number" }>): boolean {
  const numbers = [
    ...text.matchAll(/(?<![\p{L}\d])-?\d+(?:[,\u202f ]\d{3})*(?:\.\d+)?(?:\s+(thousand|million|billion)\b)?/giu),
  ].map(
    ([all, scale]) =>
      Number.parseFloat(all.replace(/[,\u202f ](?=\d)/g, "")) * (SCALES[scale?.toLowerCase() ?? ""] ?? 1),
  );
  const fits = (number: number): boolean => Math.abs(number - value) <= tolerance + 1e-9;
  return which === "any" ? numbers.some(fits) : numbers.length > 0 && fits(numbers.at(-1) ?? Number.NaN);
}

/** The letter that an answer names: after "answer is" where it says so, else the first that stands alone. */
function choiceOf(text: string): string | undefined {
  const said = /\b(?:answer|choice|option)(?: is)?:?\s*\(?\**\(?([A-H])\b/iu.exec(text)?.[1];
  return (said ?? /(?:^|[\s(*"])([A-H])(?=$|[\s).,:*"])/u.exec(text)?.[1])?.toUpperCase();
}
