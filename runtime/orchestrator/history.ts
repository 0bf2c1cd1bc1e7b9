import { Command, Option } from "commander";
import type { z } from "zod";
import { ConversationList, ConversationPage, ConversationsDeleted } from "../contracts/conversations.ts";
import { integer } from "../support/options.ts";
import { keyOf } from "./chat/command.ts";
import { AskError, refusal } from "./chat.ts";

interface Flags {
  url: string;
  user?: string;
  keyFile?: string;
  json?: boolean;
}

/** `history`: conversations that the orchestrator keeps. */
export function historyCommand(): Command {
  const command = new Command("history").description("list, show, export or delete conversations that are kept");
  const under = (name: string, description: string): Command =>
    command
      .command(name)
      .description(description)
      .option("--url <address>", "the orchestrator", "http://127.0.0.1:8080")
      .option("--user <name>", "whose conversations")
      .option("--key-file <file>", "file with the key, where one is wanted (or set GORKHEAVY_KEY)");
  under("list", "the one used last comes first")
    .option("--limit <number>", "most of them", integer("limit", 1, 200), 50)
    .option("--cursor <cursor>", "go on after an earlier list")
    .option("--json", "print the service's own answer", false)
    .action(async (flags: Flags & { limit: number; cursor?: string }) => {
      const { limit, cursor } = flags;
      const list = await read(flags, "GET", "", { limit: String(limit), cursor }, ConversationList);
      const lines = list.conversations.map(
        ({ id, turns, title, updatedAt }) => `${updatedAt}  ${id}  ${turns} turns  ${title}`,
      );
      print(flags, list, [...lines, ...(list.nextCursor === undefined ? [] : [`more: --cursor ${list.nextCursor}`])]);
    });
  under("show", "the turns of one conversation")
    .argument("<id>", "the conversation")
    .option("--limit <number>", "most turns", integer("limit", 1, 1_000), 100)
    .option("--after <number>", "turns after this one", integer("after", 0, 2_147_483_647), 0)
    .option("--json", "print the service's own answer", false)
    .action(async (id: string, flags: Flags & { limit: number; after: number }) => {
      const query = { limit: String(flags.limit), after: String(flags.after) };
      const page = await read(flags, "GET", `/${encodeURIComponent(id)}`, query, ConversationPage);
      const lines = page.turns.flatMap(({ question, answer }) => [`YOU: ${question}`, `Reply: ${answer}`]);
      print(flags, page, [...lines, ...(page.nextAfter === undefined ? [] : [`more: --after ${page.nextAfter}`])]);
    });
  under("export", "one conversation whole, to the standard output")
    .argument("<id>", "the conversation")
    .addOption(
      new Option("--format <format>", "one turn a line, or for people").choices(["jsonl", "markdown"]).default("jsonl"),
    )
    .action(async (id: string, flags: Flags & { format: string }) => {
      const response = await call(flags, "GET", `/${encodeURIComponent(id)}/export`, { format: flags.format });
      for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) process.stdout.write(piece);
    });
  under("delete", "one conversation, or all of the user's")
    .argument("[id]", "the conversation")
    .option("--all", "all conversations of the user", false)
    .option("--json", "print the service's own answer", false)
    .action(async (id: string | undefined, flags: Flags & { all: boolean }) => {
      if ((id === undefined) !== flags.all) throw new Error("history delete: give the id of a conversation, or --all");
      const path = id === undefined ? "" : `/${encodeURIComponent(id)}`;
      const done = await read(flags, "DELETE", path, {}, ConversationsDeleted);
      print(flags, done, [`${done.deleted} deleted`]);
    });
  return command;
}

function print({ json }: Flags, whole: unknown, lines: readonly string[]): void {
  process.stdout.write(
    json === true ? `${JSON.stringify(whole, null, 2)}\n` : lines.map((line) => `${line}\n`).join(""),
  );
}

async function read<S extends z.ZodType>(
  flags: Flags,
  method: string,
  path: string,
  query: Record<string, string | undefined>,
  schema: S,
): Promise<z.output<S>> {
  const response = await call(flags, method, path, query);
  const parsed = schema.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success) throw new AskError(`${flags.url} answered with something else; is it an orchestrator?`);
  return parsed.data;
}

/** @throws AskError fit for people */
async function call(
  { url, user, keyFile }: Flags,
  method: string,
  path: string,
  query: Record<string, string | undefined>,
): Promise<Response> {
  const given = Object.entries({ ...query, user }).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const key = await keyOf(keyFile, process.env);
  let response: Response;
  try {
    response = await fetch(
      `${url.replace(/\/+$/, "")}/v1/conversations${path}?${new URLSearchParams(given).toString()}`,
      { method, headers: key === undefined ? {} : { authorization: `Bearer ${key}` } },
    );
  } catch (cause) {
    throw new AskError(
      `no orchestrator answers at ${url}; see that it runs (serve), or give another --url`,
      undefined,
      [],
      cause,
    );
  }
  if (response.ok) return response;
  throw await refusal(response, url);
}
