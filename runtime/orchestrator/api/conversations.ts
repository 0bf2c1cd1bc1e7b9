import { Hono } from "hono";
import type { Context } from "hono";
import type { z } from "zod";
import { ExportQuery, ListQuery, PageQuery, type StoredTurn, UserQuery } from "../../contracts/conversations.ts";
import { Identifier } from "../../contracts/identifier.ts";
import { Fault } from "../../core/fault.ts";
import type { Memory } from "../../memory/memory.ts";
import { errorResponse } from "../../support/http.ts";
import type { Ensemble } from "../ensemble.ts";
import { ANONYMOUS } from "../remembering.ts";
import { identityOf } from "./asked.ts";
import { NATIVE_DIALECT } from "./native-error.ts";

/** Turns read at once for an export. */
const EXPORT_PAGE = 500;

/** Conversations of a user: list, read, export, delete. To go on with one, ask with its id. */
export function conversationsApi(ensemble: Ensemble): Hono {
  const app = new Hono();
  const { memory } = ensemble;
  app.onError((error) => errorResponse(error, NATIVE_DIALECT));
  app.get("/v1/conversations", async (c) => {
    const { limit, cursor, user } = queryOf(c, ListQuery);
    return c.json(await memory.list(userOf(c, user), limit, cursor));
  });
  app.get("/v1/conversations/:id", async (c) => {
    const { limit, after, user } = queryOf(c, PageQuery);
    const key = { user: userOf(c, user), conversation: conversationOf(c) };
    return c.json((await memory.page(key, limit, after)) ?? unknown(key.conversation));
  });
  app.get("/v1/conversations/:id/export", async (c) => {
    const { format, user } = queryOf(c, ExportQuery);
    const key = { user: userOf(c, user), conversation: conversationOf(c) };
    // The first page is read before the status is sent.
    const first = (await memory.page(key, EXPORT_PAGE, 0)) ?? unknown(key.conversation);
    const type = format === "jsonl" ? "application/x-ndjson" : "text/markdown; charset=utf-8";
    return new Response(exported(memory, key, first, format), { headers: { "content-type": type } });
  });
  app.delete("/v1/conversations/:id", async (c) => {
    const conversation = conversationOf(c);
    const deleted = await memory.remove(userOf(c, queryOf(c, UserQuery).user), conversation);
    return deleted === 0 ? unknown(conversation) : c.json({ deleted });
  });
  app.delete("/v1/conversations", async (c) =>
    c.json({ deleted: await memory.remove(userOf(c, queryOf(c, UserQuery).user)) }),
  );
  return app;
}

/** Whose conversations: the header's user, the query's, or nobody's by name. */
function userOf(c: Context, asked: string | undefined): string {
  return identityOf(c, asked).user ?? ANONYMOUS;
}

function conversationOf(c: Context): string {
  const parsed = Identifier.safeParse(c.req.param("id"));
  if (!parsed.success) throw new Fault("invalid_request", `id: ${parsed.error.issues[0]?.message ?? "not allowed"}`);
  return parsed.data;
}

function queryOf<S extends z.ZodType>(c: Context, schema: S): z.output<S> {
  const parsed = schema.safeParse(c.req.query());
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new Fault(
    "invalid_request",
    `${issue?.path.map(String).join(".") || "query"}: ${issue?.message ?? "not allowed"}`,
  );
}

function unknown(conversation: string): never {
  throw new Fault("not_found", `conversation ${conversation}: there is none of that id`);
}

/** All turns, page after page, as they are read. */
function exported(
  memory: Memory,
  key: { user: string; conversation: string },
  first: Awaited<ReturnType<Memory["page"]>>,
  format: "jsonl" | "markdown",
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let page = first;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      if (format === "markdown") controller.enqueue(encoder.encode(`# Conversation ${key.conversation}\n`));
    },
    async pull(controller) {
      if (page === undefined) {
        controller.close();
        return;
      }
      controller.enqueue(encoder.encode(page.turns.map(format === "jsonl" ? jsonLine : markdownOf).join("")));
      page = page.nextAfter === undefined ? undefined : await memory.page(key, EXPORT_PAGE, page.nextAfter);
    },
  });
}

function jsonLine(turn: StoredTurn): string {
  return `${JSON.stringify(turn)}\n`;
}

/** A turn for people; every line is quoted, so that no text can pass for a heading of ours. */
function markdownOf({ sequence, question, answer, member, model, askedAt }: StoredTurn): string {
  const quoted = (text: string): string =>
    text
      .split("\n")
      .map((line) => `> ${line}`.trimEnd())
      .join("\n");
  return `\n## ${sequence}. ${askedAt}\n\n**Question**\n\n${quoted(question)}\n\n**Answer** by ${member} (${model})\n\n${quoted(answer)}\n`;
}
