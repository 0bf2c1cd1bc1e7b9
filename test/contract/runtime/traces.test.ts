import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";

const Exported = z.looseObject({
  resourceSpans: z.array(
    z.looseObject({
      scopeSpans: z.array(
        z.looseObject({
          spans: z.array(
            z.looseObject({
              traceId: z.string(),
              spanId: z.string(),
              parentSpanId: z.string().optional(),
              name: z.string(),
              startTimeUnixNano: z.string(),
              endTimeUnixNano: z.string(),
              attributes: z.array(z.looseObject({ key: z.string(), value: z.record(z.string(), z.unknown()) })),
            }),
          ),
        }),
      ),
    }),
  ),
});
type Span = z.output<typeof Exported>["resourceSpans"][number]["scopeSpans"][number]["spans"][number];

let collector: Server;
let endpoint: string;
let received: string[] = [];
let open: MockEnsemble[] = [];

beforeAll(async () => {
  collector = createServer((request, response) => {
    let text = "";
    request.on("data", (part: Buffer) => (text += part.toString()));
    request.on("end", () => {
      if (request.url === "/v1/traces") received.push(text);
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
});
afterAll(() => collector.close());
afterEach(async () => {
  await Promise.all(open.map((one) => one.close()));
  open = [];
  received = [];
});

const QUESTION = "What did Margaret whisper in Vienna?";
const CLIENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };

/** Asks once, stops the service, and gives all spans that it sent. */
async function spansOf(traces: { prompts?: boolean } = {}, headers: Record<string, string> = {}) {
  const service = await startMockEnsemble(
    { llama: { fault: (_, number) => (number === 0 ? "reset" : undefined) } },
    { traces: { endpoint, ...traces }, cache: { store: "memory" } },
  );
  open.push(service);
  const answer = await fetch(`${service.url}/ask`, {
    method: "POST",
    headers,
    body: JSON.stringify({ question: QUESTION, user: "margaret" }),
  });
  expect(answer.status).toBe(200);
  const seen = Object.fromEntries(
    Object.entries(service.mocks).map(([name, { calls }]) => [name, calls.map((call) => call.headers["traceparent"])]),
  );
  await service.close();
  open = [];
  const spans = received.flatMap((text) =>
    Exported.parse(JSON.parse(text)).resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap((scope) => scope.spans),
    ),
  );
  return { spans, seen };
}

const named = (spans: Span[], name: string): Span[] => spans.filter((span) => span.name === name);
const attribute = (span: Span, key: string): unknown =>
  Object.values(span.attributes.find((one) => one.key === key)?.value ?? {})[0];

describe("a question's trace", () => {
  test("is one tree: the question, its stages, their calls, the cache and the store, each within its parent's time", async () => {
    const { spans, seen } = await spansOf();
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
    const [root] = named(spans, "question");
    expect(root?.parentSpanId ?? "").toBe("");
    const byId = new Map(spans.map((span) => [span.spanId, span]));
    for (const span of spans) {
      expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
      if (span === root) continue;
      const parent = byId.get(span.parentSpanId ?? "");
      expect(parent, span.name).toBeDefined();
      expect(BigInt(span.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(parent?.startTimeUnixNano ?? 0));
    }
    const kinds = ["rewrite", "candidate", "judge", "cache", "recall", "remember"];
    for (const kind of kinds) for (const span of named(spans, kind)) expect(span.parentSpanId).toBe(root?.spanId);
    expect(kinds.map((kind) => named(spans, kind).length)).toEqual([1, 3, 1, 1, 1, 1]);
    // The first call of llama broke; the second is beside it under the same stage.
    const llama = named(spans, "candidate").find((span) => attribute(span, "gorkheavy.member") === "llama");
    expect(named(spans, "call").filter(({ parentSpanId }) => parentSpanId === llama?.spanId)).toHaveLength(2);
    expect(attribute(root as Span, "gorkheavy.winner")).toBe("llama");
    // Every member was told its own call's span.
    const told = Object.values(seen).flat();
    expect(told.length).toBeGreaterThanOrEqual(6);
    for (const traceparent of told) {
      const [, traceId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(String(traceparent)) ?? [];
      expect(traceId).toBe(root?.traceId);
      expect(byId.get(spanId ?? "")?.name).toBe("call");
    }
  });

  test("goes on with the client's, of which only the ids are taken", async () => {
    const { spans } = await spansOf(
      {},
      { traceparent: `00-${CLIENT.traceId}-${CLIENT.spanId}-01`, tracestate: "vendor=margaret" },
    );
    const [root] = named(spans, "question");
    expect(root).toMatchObject({ traceId: CLIENT.traceId, parentSpanId: CLIENT.spanId });
    expect(received.join("")).not.toContain("vendor");
  });

  test.each([
    "rubbish",
    `00-${"0".repeat(32)}-${CLIENT.spanId}-01`,
    `00-${CLIENT.traceId}-${"0".repeat(16)}-01`,
    `00-${CLIENT.traceId}-xyz-01`,
  ])("begins anew where the client's makes no sense (%s)", async (traceparent) => {
    const { spans } = await spansOf({}, { traceparent });
    expect(named(spans, "question")[0]?.parentSpanId ?? "").toBe("");
    expect(spans[0]?.traceId).not.toBe(CLIENT.traceId);
  });

  test("holds no words of people or models unless they are asked for", async () => {
    await spansOf();
    expect(received.join("")).not.toMatch(/Margaret|margaret|Vienna|An answer by/);
    received = [];
    await spansOf({ prompts: true });
    expect(received.join("")).toMatch(/Margaret whisper/);
    expect(received.join("")).toMatch(/An answer by llama/);
  });
});

test("without a collector nothing of it is loaded", async () => {
  const script = `
    import { openTracing } from "./runtime/orchestrator/tracing/open.ts";
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ resolve: (name, context, next) => { loaded.push(name); return next(name, context); } });
    const traces = { prompts: false };
    console.log((await openTracing({ traces }, {})) === undefined, loaded.length);
    await openTracing({ traces }, { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" });
    console.log(loaded.some((name) => name.startsWith("@opentelemetry/")));
    process.exit(0);
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module-typescript", "-e", script]);
  expect(stdout.trim().split("\n")).toEqual(["true 0", "true"]);
});
