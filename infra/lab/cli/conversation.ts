import { Agent, fetch as undiciFetch } from "undici";
import { chatLoop } from "../../../runtime/orchestrator/chat/loop.ts";
import { ask as askEnsemble } from "../../../runtime/orchestrator/chat.ts";
import { datacentreStatus } from "../datacentre/start.ts";
import type { Lab } from "../lab.ts";
import type { Terminal } from "./terminal.ts";

/** Asks one question and prints `YOU:` and `Reply:`, or with `json` the whole answer with its stages. */
export async function ask(
  lab: Lab,
  question: string,
  options: { json?: boolean; conversation?: string },
  to: Terminal,
): Promise<void> {
  await withOrchestrator(lab, async (url, fetch) => {
    const answer = await askEnsemble({ url, fetch, question, conversation: options.conversation });
    if (options.json) to.print(JSON.stringify(answer, null, 2));
    else to.print(`YOU: ${question}\nReply: ${answer.reply}`);
  });
}

/** The chat of the seeds (A70) on this terminal. */
export async function chat(lab: Lab): Promise<void> {
  await withOrchestrator(lab, async (url, fetch) =>
    chatLoop({ url, fetch, socketPath: lab.orchestratorSocket, input: process.stdin, output: process.stdout }),
  );
}

/** Gives a `fetch` that reaches the orchestrator's Service from outside the lab. @throws Error when the lab is down */
async function withOrchestrator(
  lab: Lab,
  use: (url: string, fetch: typeof globalThis.fetch) => Promise<void>,
): Promise<void> {
  if (!(await datacentreStatus(lab))) throw new Error(`Lab "${lab.name}" is not up. Start it: npm run lab`);
  const dispatcher = new Agent({ connect: { socketPath: lab.orchestratorSocket }, headersTimeout: 0, bodyTimeout: 0 });
  const fetch = ((input: string, init?: RequestInit) =>
    undiciFetch(input, { ...(init as object), dispatcher })) as unknown as typeof globalThis.fetch;
  try {
    await use("http://opus-orchestrator:8080", fetch);
  } finally {
    await dispatcher.destroy();
  }
}
