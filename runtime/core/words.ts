/** Hidden thoughts of a reasoning model, as Qwen 3 writes them into its answer; an unclosed block hides all after it. */
const THOUGHTS = /<think>[\s\S]*?(?:<\/think>|$)/g;

/** The answer without hidden thoughts and outer blank space. */
export function withoutThoughts(text: string): string {
  return text.replace(THOUGHTS, "").trim();
}

/** Words and numbers of a text in lower case, in order; CJK and other scripts without spaces count each character. */
export function wordsOf(text: string): string[] {
  return (
    text
      .toLowerCase()
      .match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{N}_]+/gu) ?? []
  );
}

/** Ways in which small models decline. Only a short answer that begins so counts: a long one that begins with an apology may still help. */
const REFUSAL =
  /^(?:i(?:'m| am)(?: very| really| so)? sorry|sorry|i apologi[sz]e|unfortunately,? i (?:can(?:no|')t|am (?:not able|unable))|i (?:can(?:no|')t|am (?:not able|unable) to|won't|will not) (?:assist|help|answer|provide|comply|fulfil|do that)|as an ai(?: language)? model,? i (?:can(?:no|')t|am (?:not able|unable)))/;

/** Longest answer, words, that is still taken for a refusal. */
const REFUSAL_WORDS = 60;

/** Whether an answer declines instead of answering. */
export function refuses(text: string): boolean {
  const plain = text.toLowerCase().replaceAll("’", "'").trimStart();
  return REFUSAL.test(plain) && wordsOf(plain).length <= REFUSAL_WORDS;
}

/** Share of common words of two texts, 0 (nothing) to 1 (the same set); two texts without words are alike. */
export function resemblance(a: string, b: string): number {
  const left = new Set(wordsOf(a));
  const right = new Set(wordsOf(b));
  if (left.size === 0 && right.size === 0) return 1;
  let both = 0;
  for (const word of left) if (right.has(word)) both++;
  return both / (left.size + right.size - both);
}

/**
 * Whether two answers say the same. One line: the same words and signs, whatever case, spacing and closing punctuation.
 * Several lines, which may be code: the same to the letter, blank space around apart.
 */
export function saysTheSame(a: string, b: string): boolean {
  const left = a.trim();
  const right = b.trim();
  if (left.includes("\n") || right.includes("\n")) return left === right;
  return essence(left) === essence(right);
}

function essence(line: string): string {
  return line
    .toLowerCase()
    .replace(/\s+/g, " ")
    .replace(/[.!\s]+$/, "");
}
