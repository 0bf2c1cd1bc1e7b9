import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ModelChanges } from "../../../../runtime/engine/api/model-changes.ts";
import { mainPort, ollamaPort } from "../../../../runtime/engine/api/ports.ts";
import type { RunningEngine } from "../../../../runtime/engine/serve.ts";
import { ADMIN_TOKEN, engineWith, MODEL } from "../../../support/engine-with.ts";
import { exchange } from "../../../support/raw-http.ts";

let engine: RunningEngine;
let shut: RunningEngine;
beforeAll(async () => {
  [engine, shut] = await Promise.all([engineWith(), engineWith({ adminToken: "" })]);
  await engine.engine.residency.load(MODEL);
});
afterAll(async () => {
  await Promise.all([engine.stop(0), shut.stop(0)]);
});

const digest = `sha256:${"0".repeat(64)}`;
/** Every verb that changes which models there are or what is in memory: port, method, path, body. */
const VERBS = [
  ["ollama", "POST", "/api/pull", { model: MODEL }],
  ["ollama", "POST", "/api/create", { model: "x", from: MODEL }],
  ["ollama", "POST", "/api/copy", { source: MODEL, destination: "x" }],
  ["ollama", "DELETE", "/api/delete", { model: MODEL }],
  ["ollama", "POST", "/api/push", { model: MODEL }],
  ["ollama", "POST", `/api/blobs/${digest}`, {}],
  ["main", "POST", "/admin/pull", { model: MODEL }],
  ["main", "POST", "/admin/create", { model: "x", from: MODEL }],
  ["main", "POST", "/admin/copy", { from: MODEL, to: "x" }],
  ["main", "DELETE", `/admin/models/${MODEL}`, undefined],
  ["main", "POST", `/models/${MODEL}/unload`, undefined],
] as const;
/** All else that is not a GET: asking, showing and loading. */
const OPEN = [
  "/api/generate",
  "/api/chat",
  "/api/embed",
  "/api/embeddings",
  "/api/show",
  "/chat",
  "/generate",
  "/embeddings",
];

type Verb = (typeof VERBS)[number];
const portOf = (of: RunningEngine, [port]: Verb): number => of[port].port;

/** Sends a request as it is: no client makes its path better. */
async function send(port: number, method: string, path: string, body: unknown, authorization?: string) {
  const text = body === undefined ? "" : JSON.stringify(body);
  const head = [
    `${method} ${path} HTTP/1.1`,
    "host: x",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(text)}`,
    ...(authorization === undefined ? [] : [`authorization: ${authorization}`]),
  ];
  const { answers } = await exchange(port, [`${head.join("\r\n")}\r\n\r\n${text}`]);
  const [answer] = answers;
  if (answer === undefined) throw new Error(`no answer to ${method} ${path}`);
  return answer;
}

const namesOf = async (): Promise<string[]> => (await engine.engine.library.list()).map(({ name }) => name);

describe.each(VERBS.map((verb) => ({ verb, name: `${verb[1]} ${verb[2]}` })))("$name", ({ verb }) => {
  const [, method, path, body] = verb;

  test("is 401 without the token, 403 with another, and 403 where there is none", async () => {
    const before = await namesOf();
    const without = await send(portOf(engine, verb), method, path, body);
    expect(without.status).toBe(401);
    expect(without.head.toLowerCase()).toContain("www-authenticate: bearer");
    const error = (JSON.parse(without.body) as { error: unknown }).error;
    if (verb[0] === "ollama") expect(error).toBeTypeOf("string");
    else expect(error).toMatchObject({ code: "unauthorized" });
    for (const wrong of ["Bearer wrong", `Bearer ${ADMIN_TOKEN}x`, `Basic ${ADMIN_TOKEN}`, ADMIN_TOKEN, "Bearer", ""])
      expect([wrong, (await send(portOf(engine, verb), method, path, body, wrong)).status]).toEqual([wrong, 403]);
    for (const any of [undefined, `Bearer ${ADMIN_TOKEN}`, "Bearer undefined"])
      expect((await send(portOf(shut, verb), method, path, body, any)).status).toBe(403);
    expect(await namesOf()).toEqual(before);
  });

  test("is told so before its body is read, whatever that is", async () => {
    for (const bad of ["", "{", "[".repeat(10_000), "\u00ff"]) {
      const head = `${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${Buffer.byteLength(bad)}\r\n\r\n`;
      expect((await exchange(portOf(engine, verb), [head + bad])).answers[0]?.status).toBe(401);
    }
    const endless = `${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\nx`;
    expect((await exchange(portOf(engine, verb), [endless])).answers[0]?.status).toBe(401);
  });

  test("has no way around in the form of its path or method", async () => {
    const before = await namesOf();
    const forms = [
      path.toUpperCase(),
      `/${path}`,
      `${path}/`,
      `${path}//`,
      `/.${path}`,
      `/x/..${path}`,
      path.replace(/^\/(.)/, (_, first: string) => `/%${first.charCodeAt(0).toString(16)}`),
      path.replaceAll("/", "%2f").replace("%2f", "/"),
      `${path};x=1`,
      `${path}?model=x`,
      `${path}%00`,
      `http://x${path}`,
    ];
    for (const form of forms) {
      const { status } = await send(portOf(engine, verb), method, form, body);
      expect([form, [400, 401, 404, 405].includes(status)]).toEqual([form, true]);
    }
    for (const other of ["PUT", "PATCH", "OPTIONS", method === "POST" ? "DELETE" : "POST"]) {
      const { status } = await send(portOf(engine, verb), other, path, body, `Bearer ${ADMIN_TOKEN}`);
      expect([other, status]).toEqual([other, 405]);
    }
    for (const port of [engine.main.port, engine.ollama.port])
      expect([401, 404]).toContain((await send(port, method, path, body)).status);
    expect(await namesOf()).toEqual(before);
  });
});

test("every route that is not a GET is in this table, or is known to be open", () => {
  const apps = [mainPort(engine.engine, new ModelChanges(engine.engine)), ollamaPort(engine.engine)];
  const routes = apps.flatMap((app) => app.routes.filter(({ method }) => method !== "GET" && method !== "ALL"));
  expect(routes.length).toBeGreaterThan(20);
  const table = VERBS.map(
    ([, method, path]) => `${method} ${path.replace(digest, ":digest").replace(MODEL, ":name{.+}")}`,
  );
  const open = (path: string): boolean => OPEN.includes(path) || path.startsWith("/v1/") || path.endsWith("/load");
  const others = routes.filter(({ path }) => !open(path)).map(({ method, path }) => `${method} ${path}`);
  expect([...new Set(others)].toSorted()).toEqual([...new Set(table)].toSorted());
});

test("with the token they work, on both APIs", async () => {
  const token = `Bearer ${ADMIN_TOKEN}`;
  const ok = async (verb: "main" | "ollama", method: string, path: string, body?: object) => {
    const answer = await send(engine[verb].port, method, path, body, token);
    expect([path, answer.status]).toEqual([path, 200]);
    return answer.body;
  };
  await ok("main", "POST", "/admin/copy", { from: MODEL, to: "twin" });
  expect(await namesOf()).toContain("twin:latest");
  await ok("main", "POST", "/admin/create", { model: "made:1", from: "twin" });
  const steps = await ok("main", "POST", "/admin/pull", { model: "brought:1", stream: true });
  expect(steps).toContain('"status":"success"');
  await ok("main", "POST", "/models/made:1/load");
  await ok("main", "POST", "/models/made:1/unload");
  await ok("main", "DELETE", "/admin/models/made:1");
  await ok("ollama", "DELETE", "/api/delete", { model: "twin" });
  expect(await namesOf()).not.toContain("made:1");
  expect(await namesOf()).not.toContain("twin:latest");
});
