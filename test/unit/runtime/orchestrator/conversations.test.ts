import { afterAll, beforeAll, expect, test } from "vitest";
import { ConversationList, ConversationPage, StoredTurn } from "../../../../runtime/contracts/conversations.ts";
import { AskAnswer, NativeError } from "../../../../runtime/contracts/native.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";

let ensemble: MockEnsemble;
let answers = 0;

beforeAll(async () => {
  // No two answers are alike: a second one to the same question would be seen.
  const said = (): string => `An answer by llama, number ${++answers}.`;
  ensemble = await startMockEnsemble({ llama: { answer: said } });
});
afterAll(() => ensemble.close());

function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${ensemble.url}${path}`, {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function ask(body: object, headers?: Record<string, string>): Promise<AskAnswer> {
  return AskAnswer.parse(await (await call("POST", "/ask", body, headers)).json());
}

test("a conversation is listed, read, continued, exported and deleted, by its own user alone", async () => {
  const ann = { user: "ann", conversation: "trip" };
  expect((await ask({ ...ann, question: "Where to?" })).remembered).toBe(true);
  expect((await ask({ ...ann, question: "When?" })).turnsShown).toBe(1);
  await ask({ user: "bob", conversation: "trip", question: "Bob's own" });
  const list = ConversationList.parse(await (await call("GET", "/v1/conversations?user=ann")).json());
  expect(list.conversations).toMatchObject([{ id: "trip", turns: 2, title: "Where to?" }]);
  const page = ConversationPage.parse(
    await (await call("GET", "/v1/conversations/trip", undefined, { "x-gorkheavy-user": "ann" })).json(),
  );
  expect(page.turns.map(({ question }) => question)).toEqual(["Where to?", "When?"]);
  const lines = (await (await call("GET", "/v1/conversations/trip/export?user=ann")).text()).trim().split("\n");
  expect(lines.map((line) => StoredTurn.parse(JSON.parse(line)))).toEqual(page.turns);
  const markdown = await call("GET", "/v1/conversations/trip/export?user=ann&format=markdown");
  expect(markdown.headers.get("content-type")).toMatch(/^text\/markdown/);
  expect(await markdown.text()).toMatch(/^# Conversation trip\n\n## 1\. .*\n\n\*\*Question\*\*\n\n> Where to\?\n/);
  expect(await (await call("DELETE", "/v1/conversations/trip?user=ann")).json()).toEqual({ deleted: 1 });
  const gone = await call("GET", "/v1/conversations/trip?user=ann");
  expect([gone.status, NativeError.parse(await gone.json()).error.code]).toEqual([404, "not_found"]);
  expect((await call("DELETE", "/v1/conversations/trip?user=ann")).status).toBe(404);
  expect((await ask({ ...ann, question: "Anew?" })).turnsShown).toBe(0);
  expect((await call("GET", "/v1/conversations/trip?user=bob")).status).toBe(200);
  expect(await (await call("DELETE", "/v1/conversations?user=bob")).json()).toEqual({ deleted: 1 });
  expect((await call("GET", "/v1/conversations/trip?user=bob")).status).toBe(404);
});

test("pages and lists go on with what the one before said", async () => {
  for (const id of ["one", "two", "three"]) await ask({ user: "cat", conversation: id, question: `About ${id}` });
  await ask({ user: "cat", conversation: "one", question: "More" });
  const first = ConversationList.parse(await (await call("GET", "/v1/conversations?user=cat&limit=2")).json());
  expect(first.conversations.map(({ id }) => id)).toEqual(["one", "three"]);
  const rest = await call("GET", `/v1/conversations?user=cat&limit=2&cursor=${first.nextCursor}`);
  expect(ConversationList.parse(await rest.json())).toMatchObject({ conversations: [{ id: "two" }] });
  const page = ConversationPage.parse(await (await call("GET", "/v1/conversations/one?user=cat&limit=1")).json());
  expect(page).toMatchObject({ turns: [{ question: "About one" }], nextAfter: 1 });
  const next = await call("GET", "/v1/conversations/one?user=cat&limit=1&after=1");
  expect(ConversationPage.parse(await next.json()).turns).toMatchObject([{ question: "More" }]);
});

test.each([
  ["/v1/conversations?limit=0", "limit"],
  ["/v1/conversations?cursor='; DROP TABLE x", "cursor"],
  ["/v1/conversations?unknown=1", "unknown"],
  ["/v1/conversations/a%20b", "id"],
  ["/v1/conversations/a?after=-1", "after"],
  ["/v1/conversations/a/export?format=pdf", "format"],
  ["/v1/conversations?user=a%20b", "user"],
])("GET %s is refused by name", async (path, named) => {
  const response = await call("GET", path);
  const { error } = NativeError.parse(await response.json());
  expect([response.status, error.code]).toEqual([400, "invalid_request"]);
  expect(error.message).toContain(named);
});

const CHAT = { messages: [{ role: "user", content: "The same question" }], model: "gorkheavy:latest" };

test.each([
  ["native", "/ask", { question: "The same question" }],
  ["OpenAI", "/v1/chat/completions", CHAT],
  ["OpenAI, streamed", "/v1/chat/completions", { ...CHAT, stream: true }],
  ["Ollama", "/api/chat", { ...CHAT, stream: false }],
  ["Ollama, streamed", "/api/chat", CHAT],
  ["Ollama, generated", "/api/generate", { model: "gorkheavy:latest", prompt: "The same question" }],
])("%s: the same key gives the same bytes, another request with it is refused", async (name, path, body) => {
  const headers = { "idempotency-key": `key-of-${name.replaceAll(/\W/g, "-")}`, "x-gorkheavy-conversation": "keys" };
  const before = answers;
  const first = await call("POST", path, body, headers);
  const bytes = await first.text();
  expect(first.headers.get("idempotent-replayed")).toBeNull();
  expect(first.headers.get("x-gorkheavy-remembered")).toBe("true");
  const again = await Promise.all([call("POST", path, body, headers), call("POST", path, body, headers)]);
  for (const response of again) {
    expect(response.headers.get("idempotent-replayed")).toBe("true");
    expect(await response.text()).toBe(bytes);
  }
  expect(answers).toBe(before + 1);
  const other = JSON.parse(JSON.stringify(body).replace("The same question", "Another one")) as unknown;
  const refused = await call("POST", path, other, headers);
  expect(refused.status).toBe(409);
  expect(await refused.text()).toContain("it was used with another request");
});

test("two at once with one key are answered once; without a key each is a turn of its own", async () => {
  const body = { user: "dot", conversation: "twice", question: "At once?", idempotencyKey: "at-once" };
  const [one, two] = await Promise.all([ask(body), ask(body)]);
  expect(two).toEqual(one);
  const free = { user: "dot", conversation: "twice", question: "Freely?" };
  await Promise.all([ask(free), ask(free)]);
  const page = ConversationPage.parse(await (await call("GET", "/v1/conversations/twice?user=dot")).json());
  expect(page.turns.map(({ sequence, question }) => [sequence, question])).toEqual([
    [1, "At once?"],
    [2, "Freely?"],
    [3, "Freely?"],
  ]);
});

test("a stream under a known key ends with the same answer", async () => {
  const body = { user: "eve", question: "Streamed?", idempotencyKey: "streamed" };
  const answer = await (await call("POST", "/ask", body)).text();
  const text = await (await call("POST", "/ask", { ...body, stream: true })).text();
  expect(text).toContain(`data: {"event":"answer","answer":${answer}}\n`);
});

test.each(["", "has blanks", "x".repeat(256), "ümlaut"])("the key %j is refused", async (key) => {
  const response = await call("POST", "/ask", { question: "Why?", idempotencyKey: key });
  expect([response.status, NativeError.parse(await response.json()).error.code]).toEqual([400, "invalid_request"]);
});

test("who carries the conversation himself is told that it is not kept", async () => {
  const response = await call("POST", "/v1/chat/completions", CHAT);
  expect([response.status, response.headers.get("x-gorkheavy-remembered")]).toEqual([200, "false"]);
});
