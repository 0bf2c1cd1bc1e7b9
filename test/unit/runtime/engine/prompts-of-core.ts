import { MemberSchema } from "../../../../runtime/contracts/ensemble-config.ts";
import type { Turn } from "../../../../runtime/core/conversations.ts";
import { dealBallot, judgePrompt, readVerdict } from "../../../../runtime/core/judging.ts";
import { JUDGE_MARK, rewriterPrompt } from "../../../../runtime/core/prompts.ts";
import type { ChatMessage } from "../../../../runtime/core/ports.ts";

export { JUDGE_MARK };

const member = MemberSchema.parse({ name: "any", role: "judge", url: "http://any:1", model: "any" });

/** The rewriter's messages as the orchestrator sends them. */
export function rewriterMarks(question: string, turns: readonly Turn[]): ChatMessage[] {
  return rewriterPrompt(member, question, turns).messages;
}

/** A judge's messages as the orchestrator sends them for such answers by member, and the reader of its reply. */
export function judgeMarks(
  question: string,
  answers: Record<string, string>,
): { messages: ChatMessage[]; winner: (reply: string) => string | undefined } {
  const ballot = dealBallot(
    Object.entries(answers).map(([name, text]) => ({ member: name, text })),
    () => 0.4,
  );
  return {
    messages: judgePrompt(member, question, [], ballot).messages,
    winner: (reply) => readVerdict(reply, ballot).winner,
  };
}
