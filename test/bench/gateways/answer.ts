import { MODEL } from "../peers/gateway.ts";

/** Words that the model says, in pieces of a stream: about half a kilobyte together. */
const PIECES = Array.from({ length: 16 }, (_, index) => `piece ${index} of what a small model says. `);
/** Pieces that leave in one write, as they come together on a fast line. */
const PIECES_A_WRITE = 4;

/** What the model says in all. */
export const TEXT = PIECES.join("");

const base = { id: "chatcmpl-mock", created: 1_790_000_000, model: MODEL };
const usage = { prompt_tokens: 100, completion_tokens: 64, total_tokens: 164 };

const body = JSON.stringify({
  ...base,
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: TEXT }, logprobs: null, finish_reason: "stop" }],
  usage,
});

/** The whole answer with its head. */
export const WHOLE = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
);

/** The streamed answer with its head, one write an entry. */
export const STREAM_PARTS: readonly Buffer[] = streamParts();

function streamParts(): Buffer[] {
  const chunk = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const events = PIECES.map((content, index) =>
    chunk({ ...(index === 0 ? { role: "assistant" } : {}), content }, null),
  );
  events.push(`${chunk({}, "stop")}data: [DONE]\n\n`);
  const parts: string[] = [];
  for (let at = 0; at < events.length; at += PIECES_A_WRITE) {
    const text = events.slice(at, at + PIECES_A_WRITE).join("");
    parts.push(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  }
  const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
  return parts.map((part, index) =>
    Buffer.from(`${index === 0 ? head : ""}${part}${index === parts.length - 1 ? "0\r\n\r\n" : ""}`),
  );
}
