import { DIMENSIONS, type Profile } from "../../contracts/routing.ts";
import { CUES_BY_PHRASE, type Cued, FUNCTION_WORD_SET } from "./cues.ts";

/** Beginning of a question that is read, UTF-16 units: what it wants nearly always stands there, or at its end. */
const HEAD = 2_048;
/** End of a question that is read, UTF-16 units. */
const TAIL = 1_024;

/** Risk of a question in a language that the cues do not cover: nothing can be said of it, so the whole panel is asked. */
const UNREAD_RISK = 0.5;

/** Words from which on a text without one everyday word counts as another language. */
const UNREAD_WORDS = 4;

/** Longest phrase among the cues, words. */
const PHRASE_WORDS = 3;

/**
 * The profile of a question, from its words and signs alone. It reads at most the first 2048 and the last 1024 characters, each a fixed number
 * of times, so it takes as long for a megabyte as for a page. Each cue counts once; cues add up as chances do (1 - (1 - a)(1 - b)).
 * @param turns turns of the conversation before it
 */
export function profileOf(question: string, turns: number): Profile {
  const text = excerptOf(question);
  const words = wordsIn(text);
  const signs = signsIn(text);
  const score = cueScores(words);
  const code = either(
    score.code,
    signs.fences ? 0.8 : signs.ticks > 1 ? 0.4 : 0,
    Math.min(0.6, 8 * Math.max(0, signs.symbols / Math.max(40, text.length) - 0.02)),
    signs.joined > 0 ? Math.min(0.6, 0.3 * signs.joined) : 0,
  );
  const reasoning = either(score.reasoning, signs.operators > 0 ? 0.5 : 0, signs.numbers > 1 ? 0.35 : 0);
  const recall = either(score.recall, 0.12 * Math.min(2, signs.names));
  const short = words.length <= 5 ? 0.35 : words.length <= 10 ? 0.2 : 0;
  const brevity = either(score.brevity, question.length > text.length ? 0 : short) * (1 - score.length);
  const contextDependence = turns === 0 ? 0 : either(0.15, score.contextDependence, words.length <= 4 ? 0.3 : 0);
  const risk = unread(words, signs, code) ? Math.max(UNREAD_RISK, score.risk) : score.risk;
  return rounded({ code, reasoning, recall, creativity: score.creativity, brevity, contextDependence, risk });
}

/** The degrees of a profile in the order of `DIMENSIONS`. */
export function vectorOf(profile: Profile): number[] {
  return DIMENSIONS.map((name) => profile[name]);
}

function excerptOf(question: string): string {
  if (question.length <= HEAD + TAIL) return question;
  return `${question.slice(0, HEAD)}\n${question.slice(-TAIL)}`;
}

/** Words and numbers in lower case, without accents. */
function wordsIn(text: string): string[] {
  return (
    text
      .normalize("NFD")
      .replace(/\p{M}/gu, "")
      .toLowerCase()
      .match(/[\p{L}\p{N}_]+/gu) ?? []
  );
}

/** What the cues among the words come to, each from 0 to 1. */
function cueScores(words: readonly string[]): Record<Cued, number> {
  const left: Record<Cued, number> = {
    code: 1,
    reasoning: 1,
    recall: 1,
    creativity: 1,
    brevity: 1,
    length: 1,
    contextDependence: 1,
    risk: 1,
  };
  const seen = new Set<string>();
  for (let at = 0; at < words.length; at++) {
    let phrase = "";
    for (let long = 0; long < PHRASE_WORDS; long++) {
      const word = words[at + long];
      if (word === undefined) break;
      phrase = long === 0 ? word : `${phrase} ${word}`;
      // A plural is tried too, so that the list needs each word once.
      const hits =
        CUES_BY_PHRASE.get(phrase) ?? (phrase.endsWith("s") ? CUES_BY_PHRASE.get(phrase.slice(0, -1)) : undefined);
      if (hits === undefined || seen.has(phrase)) continue;
      seen.add(phrase);
      for (const { cued, weight } of hits) left[cued] *= 1 - weight;
    }
  }
  for (const cued of Object.keys(left) as Cued[]) left[cued] = 1 - left[cued];
  return left;
}

/** What is counted in one pass over the characters. */
interface Signs {
  /** Braces, brackets, semicolons and the like. */
  symbols: number;
  /** Backticks. */
  ticks: number;
  fences: boolean;
  /** Names such as `read_file`, `readFile` and `main(`. */
  joined: number;
  /** Words with a capital that do not begin a sentence. */
  names: number;
  numbers: number;
  /** `+ * / ^ = %` after a number. */
  operators: number;
  latin: number;
  /** Letters of other scripts, and signs such as emojis. */
  other: number;
}

/** What each ASCII character is: a sum of these. */
const [LOWER, UPPER, DIGIT, SYMBOL, OPERATOR, STOP] = [1, 2, 4, 8, 16, 32];
const KINDS = kindsOf();

function kindsOf(): Uint8Array {
  const kinds = new Uint8Array(128);
  const mark = (chars: string, kind: number): void => {
    for (const char of chars) kinds[char.charCodeAt(0)] = (kinds[char.charCodeAt(0)] ?? 0) | kind;
  };
  mark("abcdefghijklmnopqrstuvwxyz", LOWER);
  mark("ABCDEFGHIJKLMNOPQRSTUVWXYZ", UPPER);
  mark("0123456789", DIGIT);
  mark("{}[]();=<>\\|&$#@~", SYMBOL);
  mark("+*/^=%", OPERATOR);
  mark(".!?\n:", STOP);
  return kinds;
}

/** Characters with a code from here on are no letters of Latin scripts. */
const BEYOND_LATIN = 0x250;
const TICK = 0x60;
const UNDERSCORE = 0x5f;
const PARENTHESIS = 0x28;

function signsIn(text: string): Signs {
  const signs: Signs = {
    symbols: 0,
    ticks: 0,
    fences: text.includes("```"),
    joined: 0,
    names: 0,
    numbers: 0,
    operators: 0,
    latin: 0,
    other: 0,
  };
  let before = 0;
  let inNumber = false;
  let sinceNumber = 9;
  let opensSentence = true;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const kind = code < 128 ? (KINDS[code] ?? 0) : 0;
    const letter = (kind & (LOWER | UPPER)) !== 0;
    const letterBefore = (before & (LOWER | UPPER)) !== 0;
    const digit = (kind & DIGIT) !== 0;
    if ((kind & SYMBOL) !== 0) signs.symbols++;
    if (code === TICK) signs.ticks++;
    if (letterBefore && (code === UNDERSCORE || code === PARENTHESIS)) signs.joined++;
    if ((kind & UPPER) !== 0) {
      if ((before & LOWER) !== 0) signs.joined++;
      if (!letterBefore && !opensSentence) signs.names++;
    }
    if (digit && !inNumber && !letterBefore) signs.numbers++;
    if ((kind & OPERATOR) !== 0 && sinceNumber < 2) signs.operators++;
    if (letter || (code >= 0xc0 && code < BEYOND_LATIN)) signs.latin++;
    // General punctuation such as dashes and quotes belongs to no script.
    else if (code >= BEYOND_LATIN && (code < 0x2000 || code > 0x206f)) signs.other++;
    if (letter || digit) opensSentence = false;
    else if ((kind & STOP) !== 0) opensSentence = true;
    sinceNumber = digit ? 0 : sinceNumber + 1;
    inNumber = digit || (inNumber && (code === 0x2e || code === 0x2c));
    before = kind;
  }
  return signs;
}

/** Whether the cues cannot speak of it: another script, or words none of which is an everyday one of a covered language. */
function unread(words: readonly string[], signs: Signs, code: number): boolean {
  if (signs.other > signs.latin) return true;
  if (code >= 0.5 || words.length < UNREAD_WORDS || signs.latin === 0) return false;
  return !words.some((word) => FUNCTION_WORD_SET.has(word));
}

/** Degrees added up as chances that do not depend on each other. */
function either(...degrees: readonly number[]): number {
  return 1 - degrees.reduce((left, degree) => left * (1 - degree), 1);
}

/** Three places: what is written down is what was used. */
function rounded(profile: Profile): Profile {
  const clamp = (degree: number): number => Math.round(Math.min(1, Math.max(0, degree)) * 1000) / 1000;
  return {
    code: clamp(profile.code),
    reasoning: clamp(profile.reasoning),
    recall: clamp(profile.recall),
    creativity: clamp(profile.creativity),
    brevity: clamp(profile.brevity),
    contextDependence: clamp(profile.contextDependence),
    risk: clamp(profile.risk),
  };
}
