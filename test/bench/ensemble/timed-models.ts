// Five model servers with the speeds of real ones on real hardware, in one process of their own. Prints one line of JSON with their addresses.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";

/** Reading and writing speed of one 4-core host: 46 G parameter-tokens a second and core to read, 27.4 G parameters a second to write. Source: performance notes, E1. */
const READ = 4 * 46e9;
const WRITE = 27.4e9;
const CHARS_A_TOKEN = 4;
/** Tokens of one answer and of a rewritten question. Source: performance notes, E1. */
const ANSWER_TOKENS = 200;
const REWRITE_TOKENS = 60;

const MODELS = [
  { name: "promptimizer", parameters: 350e6 },
  { name: "llama", parameters: 1e9 },
  { name: "qwen", parameters: 1.5e9 },
  { name: "qwen-small", parameters: 600e6 },
  { name: "judge", parameters: 1e9 },
] as const;

const Settings = z.object({
  /** How many times faster than the real ones. */
  speed: z.coerce.number().positive(),
  /** Share of the calls of `llama` that stall. */
  stallRatio: z.coerce.number().min(0).max(1).default(0),
});
const settings = Settings.parse({ speed: process.argv[2], stallRatio: process.argv[3] });

const Body = z.looseObject({
  prompt: z.string().default(""),
  stream: z.boolean().default(true),
  format: z.unknown().optional(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.string() })).default([]),
  options: z.looseObject({ num_predict: z.number().optional() }).default({}),
});

/** What one call took, ms on the clock of the day; read by `GET /log`. */
interface Entry {
  model: string;
  tokens: number;
  startedMs: number;
  endedMs: number;
}
let log: Entry[] = [];
let calls = 0;
/** Calls before the first one stalls: nobody can know what is slow before it has seen what is usual. */
const STEADY = 40;

const now = (): number => performance.timeOrigin + performance.now();

async function serve(
  model: (typeof MODELS)[number],
  state: { read: string; busy: Promise<void> },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === "GET") {
    if (request.url === "/log") {
      response.end(JSON.stringify(log));
      log = [];
    } else
      response
        .writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify({ ready: true, models: [{ name: model.name, state: "ready" }] }));
    return;
  }
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const body = Body.parse(JSON.parse(Buffer.concat(parts).toString()));
  const startedMs = now();
  const stalls =
    model.name === "llama" &&
    settings.stallRatio > 0 &&
    ++calls > STEADY &&
    calls % Math.round(1 / settings.stallRatio) === 7;
  if (stalls) return;
  // One slot a server, as Ollama has with one parallel request.
  const before = state.busy;
  let free = (): void => undefined;
  state.busy = new Promise((resolve) => {
    free = resolve;
  });
  await before;
  try {
    await generate(model, state, body, response, startedMs);
  } finally {
    free();
  }
}

async function generate(
  model: (typeof MODELS)[number],
  state: { read: string },
  body: z.output<typeof Body>,
  response: ServerResponse,
  startedMs: number,
): Promise<void> {
  const prompt =
    body.messages.length > 0 ? body.messages.map(({ role, content }) => `${role}\n${content}\n`).join("") : body.prompt;
  let common = 0;
  while (common < prompt.length && prompt.charCodeAt(common) === state.read.charCodeAt(common)) common++;
  const text = answerOf(model.name, prompt, body);
  const tokens = Math.min(Math.ceil(text.length / CHARS_A_TOKEN), body.options.num_predict ?? Infinity);
  const readMs = (((prompt.length - common) / CHARS_A_TOKEN / (READ / model.parameters)) * 1000) / settings.speed;
  const tokenMs = 1000 / (WRITE / model.parameters) / settings.speed;
  const begin = now();
  const line = (piece: string, done: boolean): string =>
    `${JSON.stringify({ model: model.name, created_at: "", ...(body.messages.length > 0 ? { message: { role: "assistant", content: piece } } : { response: piece }), done, ...(done ? { done_reason: "stop", eval_count: tokens, prompt_eval_count: Math.ceil(prompt.length / CHARS_A_TOKEN) } : {}) })}\n`;
  const due = (token: number): number => begin + readMs + token * tokenMs;
  response.writeHead(200, { "content-type": body.stream ? "application/x-ndjson" : "application/json" });
  let written = 0;
  while (written < tokens && !response.destroyed) {
    const wait = due(written + 1) - now();
    if (wait > 0.3) await new Promise((resolve) => setTimeout(resolve, wait));
    const until = Math.min(tokens, Math.max(written + 1, Math.floor((now() - begin - readMs) / tokenMs)));
    if (body.stream) response.write(line(text.slice(written * CHARS_A_TOKEN, until * CHARS_A_TOKEN), false));
    written = until;
  }
  // What was read of the prompt stays read, also when the caller went away in the middle of it.
  const read = response.destroyed
    ? common + Math.floor(Math.max(0, Math.min(1, (now() - begin) / Math.max(1, readMs))) * (prompt.length - common))
    : prompt.length;
  state.read = prompt.slice(0, read);
  if (response.destroyed) return;
  response.end(body.stream ? line("", true) : line(text, true));
  log.push({ model: model.name, tokens, startedMs, endedMs: now() });
}

/** The seed's judge writes the best answer again; one that is asked for JSON gives a verdict. */
function answerOf(model: string, prompt: string, body: z.output<typeof Body>): string {
  if (model === "promptimizer")
    return `rewritten ${"query ".repeat(REWRITE_TOKENS)}`.slice(0, REWRITE_TOKENS * CHARS_A_TOKEN);
  if (model === "judge" && body.format !== undefined) {
    const labels = [...prompt.matchAll(/<answer ([A-H]) [0-9a-f]{8}>/g)].map(([, label = "A"]) => label);
    const scores = JSON.stringify(body.format).includes('"scores"');
    return JSON.stringify({
      winner: labels[0],
      ...(scores ? { scores: Object.fromEntries(labels.map((label) => [label, [4, 4, 3, 4, 4]])) } : {}),
    });
  }
  return `${model} says ${`${model.slice(0, 3)} `.repeat(ANSWER_TOKENS)}`.slice(0, ANSWER_TOKENS * CHARS_A_TOKEN);
}

const addresses: Record<string, string> = {};
for (const model of MODELS) {
  const state = { read: "", busy: Promise.resolve() };
  const server = createServer((request, response) => {
    serve(model, state, request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  addresses[model.name] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
process.stdout.write(`${JSON.stringify(addresses)}\n`);
