import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema, type EnsembleConfigInput } from "../../../../../runtime/contracts/ensemble-config.ts";
import { AskAnswer } from "../../../../../runtime/contracts/native.ts";
import { cacheUseOf } from "../../../../../runtime/orchestrator/answers/answer-cache.ts";
import { MemoryShelf } from "../../../../../runtime/orchestrator/answers/shelf.ts";
import { startMockEnsemble } from "../../../../support/ensemble.ts";
import { openMockEnsemble } from "../../../../support/open-ensembles.ts";

async function start(
  behaviours: Parameters<typeof startMockEnsemble>[0] = {},
  config: Omit<EnsembleConfigInput, "members"> = {},
) {
  const service = await openMockEnsemble(behaviours, { cache: { store: "memory" }, ...config });
  const ask = async (body: object, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${service.url}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ question: "Why?", ...body }),
    });
    return { status: answer.status, header: answer.headers.get("x-gorkheavy-cache"), body: await answer.json() };
  };
  const calls = (): number => service.mocks.llama.calls.length;
  const metrics = async (): Promise<string> => (await fetch(`${service.url}/metrics`)).text();
  return { service, ask, calls, metrics };
}

describe("the answer cache", () => {
  test("is off unless it is asked for, and then says nothing of itself", async () => {
    const { ask, calls } = await start({}, { cache: {} });
    for (let time = 0; time < 2; time++) {
      const { header, body } = await ask({});
      expect(header).toBeNull();
      expect(AskAnswer.parse(body).cached).toBeUndefined();
    }
    expect(calls()).toBe(2);
  });

  test("gives the same answer to the same question without asking anybody, and says so", async () => {
    const { ask, calls, metrics } = await start();
    const first = await ask({});
    const second = await ask({});
    expect([first.header, second.header]).toEqual(["miss", "hit"]);
    expect(calls()).toBe(1);
    const [made, again] = [AskAnswer.parse(first.body), AskAnswer.parse(second.body)];
    expect(made.cached).toBeUndefined();
    expect(again.cached?.ageMs).toBeGreaterThanOrEqual(0);
    expect(again).toMatchObject({ reply: made.reply, decision: made.decision, stages: made.stages });
    expect(again.id).not.toBe(made.id);
    const text = await metrics();
    expect(text).toContain('gorkheavy_cache_total{result="hit"} 1');
    expect(text).toContain('gorkheavy_cache_total{result="miss"} 1');
    expect(text).toContain('gorkheavy_questions_total{outcome="answered"} 2');
    expect(text).toContain('gorkheavy_wins_total{member="llama"} 1');
  });

  test("tells one question from another by all that can change the answer", async () => {
    const { ask, calls } = await start();
    const different: [object, Record<string, string>?][] = [
      [{}],
      [{ question: "why?" }],
      [{ mode: "synthesize" }],
      [{ bothOrders: true }],
      [{ user: "ann" }],
      [{ user: "bob" }],
    ];
    for (const [body] of different) expect((await ask(body)).header).toBe("miss");
    expect(calls()).toBe(different.length);
    for (const [body] of different) expect((await ask(body)).header).toBe("hit");
    expect(calls()).toBe(different.length);
  });

  test("takes the turns shown for a part of the question", async () => {
    const { ask } = await start();
    expect((await ask({ conversation: "c" })).header).toBe("miss");
    expect((await ask({ conversation: "c" })).header).toBe("miss");
    expect((await ask({ conversation: "d" })).header).toBe("hit");
  });

  test("gives one user's answers to another only where the setting says so", async () => {
    const { ask } = await start({}, { cache: { store: "memory", isolateUsers: false } });
    expect((await ask({ user: "ann" })).header).toBe("miss");
    const other = await ask({ user: "bob" });
    expect(other.header).toBe("hit");
    expect(other.body).toMatchObject({ user: "bob" });
  });

  test("keeps no answer that is less than the ensemble can give, and no failure", async () => {
    const one = await start({ llama: { fault: () => "500" } });
    expect((await one.ask({})).status).toBe(200);
    expect((await one.ask({})).header).toBe("miss");
    const judgeless = await start({ judge: { fault: () => "500" } });
    await judgeless.ask({});
    expect((await judgeless.ask({})).header).toBe("miss");
    const broken = await start({
      llama: { fault: () => "500" },
      qwen: { fault: () => "500" },
      "qwen-small": { fault: () => "500" },
    });
    expect((await broken.ask({})).status).toBe(503);
    for (const mock of Object.values(broken.service.mocks)) mock.behaviour.fault = () => undefined;
    expect((await broken.ask({})).header).toBe("miss");
  });

  test("does as the client says: no-store neither takes nor keeps, no-cache does not take", async () => {
    const { ask } = await start();
    expect((await ask({}, { "cache-control": "no-store" })).header).toBe("miss");
    expect((await ask({})).header).toBe("miss");
    expect((await ask({}, { "cache-control": "no-store" })).header).toBe("miss");
    expect((await ask({}, { "cache-control": "no-cache" })).header).toBe("miss");
    expect((await ask({})).header).toBe("hit");
    expect(["no-store, max-age=0", "No-Cache", "max-age=0", "max-age=60", undefined].map(cacheUseOf)).toEqual([
      "bypass",
      "refresh",
      "refresh",
      "use",
      "use",
    ]);
  });

  test("asks once where the same is asked several times at once, and again for who waits when that fails", async () => {
    const { ask, calls, metrics } = await start({ judge: { prefillMs: 200 } });
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask({})));
    expect(calls()).toBe(1);
    expect(answers.filter(({ header }) => header === "hit")).toHaveLength(7);
    expect(await metrics()).toContain('gorkheavy_cache_total{result="shared"} 7');

    const failing = await start({
      llama: { fault: (_, number) => (number === 0 ? "500" : undefined), prefillMs: 100 },
      qwen: { fault: (_, number) => (number === 0 ? "500" : undefined), prefillMs: 100 },
      "qwen-small": { fault: (_, number) => (number === 0 ? "500" : undefined), prefillMs: 100 },
    });
    const both = await Promise.all([failing.ask({}), failing.ask({})]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 503]);
  });

  test("answers on all APIs say whether they were kept, streams too", async () => {
    const { service, ask } = await start();
    await ask({ question: "Hello?" });
    const chat = (path: string, body: object) =>
      fetch(`${service.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "gorkheavy", messages: [{ role: "user", content: "Hello?" }], ...body }),
      });
    expect((await chat("/api/chat", { stream: false })).headers.get("x-gorkheavy-cache")).toBe("hit");
    expect((await chat("/v1/chat/completions", { stream: true })).headers.get("x-gorkheavy-cache")).toBe("hit");
    const events = await (
      await fetch(`${service.url}/ask`, { method: "POST", body: JSON.stringify({ question: "Hello?", stream: true }) })
    ).text();
    expect(events).toMatch(/event: decision[\s\S]*event: text[\s\S]*event: answer\ndata: .*"cached":\{"at":/);
    expect(events).not.toContain("stage-start");
  });

  test("wants a redis section for a Redis", async () => {
    await expect(startMockEnsemble({}, { cache: { store: "redis" } })).rejects.toThrow(/there is no redis section/);
    expect(() => EnsembleConfigSchema.parse({ members: [], redis: { url: "redis://:secret@host" } })).toThrow(/urlEnv/);
  });
});

describe("the shelf in memory", () => {
  test("keeps within its bytes whatever is put on it, the last used longest", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(30), fc.nat(400)), { maxLength: 200 }), (puts) => {
        const shelf = new MemoryShelf({ mostBytes: 4_096, ttlMs: 1_000 }, () => 0);
        for (const [key, length] of puts) {
          shelf.put(String(key), "x".repeat(length));
          expect(shelf.bytes).toBeLessThanOrEqual(4_096);
          expect(shelf.get(String(key))).toHaveLength(length);
        }
      }),
    );
    const shelf = new MemoryShelf({ mostBytes: 1_000, ttlMs: 1_000 }, () => 0);
    for (const key of ["a", "b", "c"]) shelf.put(key, key);
    expect(shelf.get("a")).toBe("a");
    shelf.put("d", "d");
    expect([shelf.get("b"), shelf.get("a")]).toEqual([undefined, "a"]);
    shelf.put("e", "e".repeat(10_000));
    expect(shelf.get("e")).toBeUndefined();
  });

  test("forgets in time", () => {
    const clock = { ms: 0 };
    const shelf = new MemoryShelf({ mostBytes: 10_000, ttlMs: 1_000 }, () => clock.ms);
    shelf.put("a", "a");
    clock.ms = 999;
    expect(shelf.get("a")).toBe("a");
    clock.ms = 1_000;
    expect(shelf.get("a")).toBeUndefined();
    expect(shelf.bytes).toBe(0);
  });
});
