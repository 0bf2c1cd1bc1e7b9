import type { MemberName, MockEnsemble } from "../../support/ensemble.ts";
import type { MockCall } from "../../support/mock-model.ts";

/** The last call that a member's server got. */
export function lastCall(ensemble: MockEnsemble, name: MemberName): MockCall {
  const call = ensemble.mocks[name].calls.at(-1);
  if (call === undefined) throw new Error(`${name} got no call`);
  return call;
}

/** A whole answer of Ollama to a call. */
export const wholeOf = (call: MockCall): unknown => ({
  model: call.body.model,
  created_at: "2026-01-01T00:00:00Z",
  message: { role: "assistant", content: "Translated." },
  done: true,
  done_reason: "stop",
  prompt_eval_count: 3,
  eval_count: 2,
});

/** A question. */
export const messages = [{ role: "user" as const, content: "Weather in Paris?" }];
/** A tool, as both dialects write it. */
export const tools = [
  {
    type: "function" as const,
    function: {
      name: "weather",
      description: "Tells the weather.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];
/** A picture of one pixel, PNG in base64. */
export const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
