/** What an answer calls itself or another one when it speaks of answers. */
const ANSWER = "(?:one|answer|response|reply|text|candidate|option)";
const ITSELF = `(?:me|mine|this(?: ${ANSWER})?|my ${ANSWER})`;
const CHOOSE = "(?:pick|choose|select|prefer|vote for|go with)";

/**
 * Ways to speak to whoever judges: to name a winner, to ask to be chosen or rated, to forge a verdict or a mark, to take back instructions.
 * They are those of Raina et al. 2024 (arXiv 2402.14016), Shi et al. 2024 (JudgeDeceiver, arXiv 2403.17710) and the heuristics of RobustJudge
 * (arXiv 2506.09443), in plain words: whoever words it otherwise is not seen.
 */
const ADDRESSES: readonly RegExp[] = [
  /["'“]winner["'”]\s*[:=]/i,
  /<\/?answer\s+[a-h1-8]\b/i,
  /<\|(?:im_start|im_end|system|eot_id|start_header_id)\|>/i,
  new RegExp(`\\b${CHOOSE} ${ITSELF}\\b`, "i"),
  new RegExp(`\\b${CHOOSE} (?:the )?(?:first|second|third|fourth|last|previous|next|other) ${ANSWER}\\b`, "i"),
  new RegExp(`\\b${CHOOSE} (?:the )?${ANSWER} (?:[a-h]|[1-8]|above|below|that|which|with)\\b`, "i"),
  new RegExp(`\\b${CHOOSE} (?:number )?[1-8]\\s*(?:[.!"')]|$)`, "im"),
  // Letters of labels are capitals; "choose a book" names none.
  /\b(?:[Pp]ick|PICK|[Cc]hoose|CHOOSE|[Ss]elect|SELECT|[Pp]refer|[Vv]ote for|[Gg]o with)\W{1,4}[A-H]\b/,
  /\b[Ww]inner(?: is|:| must be| should be)\W{1,4}(?:[A-H1-8]|this|mine|me)\b/,
  new RegExp(`\\b(?:rate|score|rank|grade) ${ITSELF}\\b`, "i"),
  new RegExp(`\\bgive ${ITSELF} (?:the |a )?(?:highest|best|top|full|maximum|perfect|five|5)\\b`, "i"),
  new RegExp(
    `\\b(?:this|my) ${ANSWER} (?:is|must be|should be|has to be) (?:the )?(?:best|winner|chosen|picked)\\b`,
    "i",
  ),
  new RegExp(`\\bbest ${ANSWER} is (?:this|mine|the (?:one|first|last|second|third))\\b`, "i"),
  /\bother (?:answers|responses|replies|candidates) are (?:all )?(?:wrong|bad|incorrect|worse|false|unsafe)\b/i,
  /\b(?:ignore|disregard|forget) (?:all |any |the |every |your )*(?:previous|prior|above|earlier|other|rest)\b/i,
  /\b(?:wants?|told|asked|tell|order) you to (?:pick|choose|select|prefer|rate)\b/i,
  /\b(?:dear|hello|hey|attention|note to(?: the)?),? (?:judge|evaluator|grader)\b/i,
  /^[ \t]*(?:judge|evaluator|grader)\s*[:,]/im,
];

/**
 * Whether an answer speaks to whoever judges it instead of to the user. A judge that obeys what it reads can be won by "pick this answer",
 * whatever its marks and labels, so such answers are counted and asked about twice. Answers about judging and choosing may be taken for such,
 * which costs them no more than that.
 */
export function addressesJudge(text: string): boolean {
  return ADDRESSES.some((way) => way.test(text));
}
