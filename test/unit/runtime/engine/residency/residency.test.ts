import { beforeEach, describe, expect, test } from "vitest";
import type { LoadedModel } from "../../../../../runtime/engine/backend.ts";
import { Residency } from "../../../../../runtime/engine/residency/residency.ts";
import type { ResidencyRules } from "../../../../../runtime/engine/residency/rules.ts";
import { readinessOf } from "../../../../../runtime/engine/residency/status.ts";
import { createLogger } from "../../../../../runtime/support/log.ts";
import { fakeBackend, type FakeModel } from "../../../../support/fake-backend.ts";
import { FakeClock, settled } from "../../../../support/fake-clock.ts";

const log = createLogger("test", "silent");
const GIB = 1024 ** 3;
const NEVER = Number.POSITIVE_INFINITY;
const RULES: Partial<ResidencyRules> = { memoryBytes: 3 * GIB, dwellMs: 1_000, fairnessMs: 5_000, waitMs: 30_000 };

let clock: FakeClock;
let models: Record<string, FakeModel>;
beforeEach(() => {
  clock = new FakeClock();
  models = {
    a: { digest: "a1", bytes: GIB, loadMs: 1_000 },
    b: { digest: "b1", bytes: GIB, loadMs: 1_000 },
    c: { digest: "c1", bytes: 2 * GIB, loadMs: 1_000 },
  };
});

function open(rules: Partial<ResidencyRules> = {}): { residency: Residency; backend: ReturnType<typeof fakeBackend> } {
  const backend = fakeBackend(clock, models);
  const residency = new Residency(backend, log, { clock, rules: { ...RULES, ...rules }, limitBytes: 8 * GIB });
  for (const name of Object.keys(models)) residency.register(name);
  return { residency, backend };
}

/** A use of so many ms. */
async function use(residency: Residency, name: string, ms: number, keepAliveMs?: number): Promise<void> {
  const lease = await residency.lease(name, { keepAliveMs });
  await clock.sleep(ms);
  lease.release();
}

async function says(model: LoadedModel): Promise<string> {
  for await (const { text } of model.generate({ messages: [] }, new AbortController().signal)) return text;
  return "";
}

const loadsOf = (backend: ReturnType<typeof fakeBackend>): string[] =>
  backend.events.filter(({ what }) => what === "load").map(({ name, digest }) => `${name} ${digest}`);

describe("a load on demand", () => {
  test("is one for a hundred callers, who all get it at once; progress is seen meanwhile", async () => {
    const { residency, backend } = open();
    const leases = Promise.all(Array.from({ length: 100 }, () => residency.lease("a")));
    await clock.advance(500);
    expect(residency.status("a")).toMatchObject({ status: { state: "loading", progress: 0.5 }, waiting: 100 });
    await clock.advance(500);
    expect((await leases).length).toBe(100);
    expect(residency.status("a")).toMatchObject({
      status: { state: "ready" },
      waiting: 0,
      inFlight: 100,
      proven: true,
    });
    expect(loadsOf(backend)).toEqual(["a a1"]);
  });

  test("goes on beside models that serve", async () => {
    const { residency } = open();
    const served = residency.lease("a");
    await clock.advance(1_000);
    await served;
    const second = residency.lease("b");
    await clock.advance(1_000);
    await second;
    expect(residency.list().map(({ inFlight }) => inFlight)).toEqual([1, 1, 0]);
  });

  test("is waited for until the deadline, then 503 with progress and a time to come back, and goes on", async () => {
    const { residency, backend } = open();
    const early = residency.lease("a", { waitMs: 600 }).catch((error: unknown) => error);
    await clock.advance(700);
    expect(await early).toMatchObject({ code: "model_loading", retryAfterSeconds: 1, message: /50 %/ });
    await clock.advance(300);
    (await residency.lease("a", { waitMs: 0 })).release();
    expect(loadsOf(backend)).toHaveLength(1);
  });

  test("is not waited for by who went away, and they do not hold the model", async () => {
    const { residency } = open();
    const client = new AbortController();
    const left = residency.lease("a", { signal: client.signal }).catch((error: unknown) => error);
    await clock.advance(100);
    client.abort();
    expect(await left).toMatchObject({ code: "cancelled" });
    await clock.advance(2_000);
    expect(residency.status("a")).toMatchObject({ inFlight: 0, waiting: 0 });
  });

  test("without any wait is 503 at once; the model is there for who comes back, however short it is kept", async () => {
    const { residency } = open({ keepAliveMs: 0 });
    expect(() => residency.acquire("a")).toThrow(/a waits for its turn/);
    await clock.advance(1_500);
    residency.acquire("a").release();
    await clock.advance(61_000);
    expect(residency.status("a").status.state).toBe("absent");
  });

  test("of a model that the engine starts with is not waited for unless it is said", async () => {
    const { residency } = open();
    residency.register("a", true);
    await clock.advance(250);
    await expect(residency.lease("a")).rejects.toMatchObject({ code: "model_loading" });
    const patient = residency.lease("a", { waitMs: 5_000 });
    await clock.advance(1_000);
    (await patient).release();
  });
});

describe("an idle model", () => {
  test("is let go so long after its last token, and never while one is written", async () => {
    const { residency, backend } = open({ keepAliveMs: 10_000 });
    const waiting = residency.lease("a");
    await clock.advance(1_000);
    const lease = await waiting;
    await clock.advance(100_000);
    expect(residency.status("a").status.state).toBe("ready");
    lease.touch();
    lease.release();
    await clock.advance(9_999);
    expect(residency.status("a")).toMatchObject({ status: { state: "ready" }, expiresAtMs: clock.wallMs() + 1 });
    await clock.advance(1);
    expect(residency.status("a")).toMatchObject({ status: { state: "absent" }, memoryBytes: 0, proven: true });
    expect(backend.held()).toBe(0);
  });

  test.each([
    [0, 0],
    [5_000, 5_000],
    [NEVER, undefined],
    [undefined, 60_000],
  ])("a request with keep_alive %s ms is let go after %s ms", async (keepAliveMs, afterMs) => {
    const { residency } = open({ keepAliveMs: 60_000 });
    void use(residency, "a", 100, keepAliveMs);
    await clock.advance(1_100);
    if (afterMs === undefined) await clock.advance(1e9);
    else {
      if (afterMs > 0) await clock.advance(afterMs - 1);
      if (afterMs > 0) expect(residency.status("a").status.state).toBe("ready");
      await clock.advance(1);
    }
    expect(residency.status("a").status.state).toBe(afterMs === undefined ? "ready" : "absent");
  });

  test("is let go at once when told to, after what runs on it", async () => {
    const { residency } = open();
    const running = use(residency, "a", 500);
    await clock.advance(1_100);
    residency.keep("a", 0);
    await clock.advance(100);
    expect(residency.status("a").status.state).toBe("ready");
    expect(await residency.unload("a")).toBe(false);
    await clock.advance(400);
    await running;
    // The request's own end put the engine's time in its place.
    expect(residency.status("a").status.state).toBe("ready");
    residency.keep("a", 0);
    await settled();
    expect(residency.status("a").status.state).toBe("absent");
  });
});

describe("memory", () => {
  test("the least recently used goes for one that is asked for", async () => {
    const { residency, backend } = open();
    for (const name of ["a", "b"]) {
      void use(residency, name, 10);
      await clock.advance(2_000);
    }
    void use(residency, "a", 10);
    await clock.advance(2_000);
    void use(residency, "c", 10);
    await clock.advance(2_000);
    expect(residency.list().map(({ status }) => status.state)).toEqual(["ready", "absent", "ready"]);
    expect(backend.held()).toBe(3 * GIB);
  });

  test.each([
    [{ memoryBytes: 1.5 * GIB }, /c needs 2\.00 GiB of memory, this engine may use its memory budget of 1\.50 GiB/],
    [{ memoryBytes: undefined }, /c needs 9\.00 GiB of memory, this engine may use the 8\.00 GiB that it has; raise/],
  ])("a model larger than %j is refused with both figures", async (rules, message) => {
    models["c"] = { digest: "c1", bytes: rules.memoryBytes === undefined ? 9 * GIB : 2 * GIB, loadMs: 1 };
    const { residency, backend } = open(rules);
    const refused = residency.lease("c").catch((error: unknown) => error);
    await clock.advance(10);
    expect(await refused).toMatchObject({ code: "model_too_large", message: expect.stringMatching(message) as string });
    expect(residency.status("c").status).toMatchObject({ state: "failed" });
    expect(loadsOf(backend)).toEqual([]);
    // With other rules it is tried again.
    residency.configure({ ...RULES, memoryBytes: 4 * GIB });
    models["c"].bytes = 2 * GIB;
    const second = residency.lease("c");
    await clock.advance(10);
    (await second).release();
  });

  test("one that turns out larger than all of it is unloaded and refused", async () => {
    models["c"] = { digest: "c1", bytes: GIB, realBytes: 4 * GIB, loadMs: 1_000 };
    const { residency, backend } = open();
    const refused = residency.lease("c").catch((error: unknown) => error);
    await clock.advance(2_000);
    expect(await refused).toMatchObject({ message: expect.stringContaining("c needs 4.00 GiB") as string });
    expect(backend.held()).toBe(0);
  });

  test("models of the start for which there is no room are loaded when they are asked for", async () => {
    const { residency } = open();
    for (const name of ["a", "b", "c"]) residency.register(name, true);
    await clock.advance(5_000);
    expect(residency.list().map(({ status, required }) => [status.state, required])).toEqual([
      ["ready", true],
      ["ready", true],
      ["absent", false],
    ]);
    expect(readinessOf(residency.list(), false)).toMatchObject({ ready: true });
    const asked = residency.lease("c");
    await clock.advance(2_000);
    (await asked).release();
  });
});

describe("a lost model", () => {
  test("comes back at once the first time, then after longer and longer pauses", async () => {
    const { residency, backend } = open();
    residency.register("a", true);
    await clock.advance(1_000);
    for (let times = 0; times < 4; times++) {
      models["a"]?.kill?.("SIGKILL");
      await clock.advance(20_000);
    }
    const loads = backend.events.filter(({ what }) => what === "load").map(({ atMs }) => atMs);
    expect(loads).toEqual([0, 1_000, 21_500, 42_000, 63_000]);
    await clock.advance(60_000);
    models["a"]?.kill?.("SIGKILL");
    await clock.advance(0);
    // It had served for long: no pause.
    expect(backend.events.filter(({ what }) => what === "load")).toHaveLength(6);
  });

  test("that fails to come back says why, is tried again, and requests past the pause are waited for", async () => {
    const { residency } = open();
    residency.register("a", true);
    await clock.advance(1_000);
    Object.assign(models["a"] ?? {}, { broken: "ENOENT: no such file, open '/models/a.gguf'" });
    models["a"]?.kill?.("SIGKILL");
    await clock.advance(300);
    expect(residency.status("a").status).toMatchObject({
      state: "failed",
      reason: /ENOENT/,
      retryMs: expect.any(Number) as number,
    });
    expect(readinessOf(residency.list(), false)).toMatchObject({ ready: false, state: "failed" });
    await expect(residency.lease("a")).rejects.toMatchObject({ code: "model_failed", message: /\/models\/a.gguf/ });
    Object.assign(models["a"] ?? {}, { broken: undefined });
    await clock.advance(10_000);
    expect(residency.status("a").status.state).toBe("ready");
  });
});

describe("a hot swap", () => {
  async function serving(rules: Partial<ResidencyRules> = {}) {
    const opened = open(rules);
    opened.residency.register("a", true);
    await clock.advance(1_000);
    Object.assign(models["a"] ?? {}, { digest: "a2" });
    return opened;
  }

  test("loads the new version while the old one serves, then all new requests get the new one", async () => {
    const { residency, backend } = await serving();
    const running = residency.acquire("a");
    await residency.add("a");
    for (let ms = 0; ms < 900; ms += 100) {
      await clock.advance(100);
      const lease = residency.acquire("a");
      expect(await says(lease.model)).toBe("a1");
      lease.release();
      expect(readinessOf(residency.list(), false).ready).toBe(true);
    }
    expect(residency.status("a")).toMatchObject({ swap: { progress: 0.75 }, facts: { digest: "a1" } });
    await clock.advance(100);
    const lease = residency.acquire("a");
    expect(await says(lease.model)).toBe("a2");
    expect(residency.status("a")).toMatchObject({ facts: { digest: "a2" }, inFlight: 2 });
    // What runs on the old one ends in peace; then it goes.
    expect(backend.held()).toBe(2 * GIB);
    expect(await says(running.model)).toBe("a1");
    running.release();
    await settled();
    expect(backend.held()).toBe(GIB);
    expect(backend.events.filter(({ what }) => what === "unload")).toMatchObject([{ digest: "a1" }]);
  });

  test("to the same weights is none", async () => {
    const { residency, backend } = await serving();
    Object.assign(models["a"] ?? {}, { digest: "a1" });
    await residency.add("a");
    await clock.advance(5_000);
    expect(loadsOf(backend)).toEqual(["a a1"]);
  });

  test("that fails leaves the old one serving, and is tried again", async () => {
    const { residency } = await serving();
    Object.assign(models["a"] ?? {}, { broken: "truncated" });
    await residency.add("a");
    await clock.advance(3_000);
    const lease = residency.acquire("a");
    expect(await says(lease.model)).toBe("a1");
    lease.release();
    Object.assign(models["a"] ?? {}, { broken: undefined });
    await clock.advance(70_000);
    expect(residency.status("a")).toMatchObject({ facts: { digest: "a2" }, status: { state: "ready" } });
  });

  test("to a still newer version ends in that one", async () => {
    const { residency, backend } = await serving();
    await residency.add("a");
    await clock.advance(500);
    Object.assign(models["a"] ?? {}, { digest: "a3" });
    await residency.add("a");
    await clock.advance(5_000);
    expect(residency.status("a")).toMatchObject({ facts: { digest: "a3" } });
    expect(backend.held()).toBe(GIB);
  });

  test("without room for both lets the old one end what runs, then loads: requests meanwhile wait and none fails", async () => {
    const { residency, backend } = await serving({ memoryBytes: 1.5 * GIB });
    const running = residency.acquire("a");
    await residency.add("a");
    await clock.advance(100);
    const waiting = residency.lease("a");
    await clock.advance(400);
    expect(await says(running.model)).toBe("a1");
    expect(loadsOf(backend)).toHaveLength(1);
    running.release();
    await clock.advance(1_000);
    expect(await says((await waiting).model)).toBe("a2");
    expect(backend.held()).toBe(GIB);
  });

  test("without room for both is refused where that is set", async () => {
    const { residency, backend } = await serving({ memoryBytes: 1.5 * GIB, replaceWithoutRoom: false });
    await residency.add("a");
    await clock.advance(5_000);
    expect(await says(residency.acquire("a").model)).toBe("a1");
    expect(loadsOf(backend)).toHaveLength(1);
  });
});

describe("a name that is taken away", () => {
  test("is unknown at once; what runs on it ends, then it is unloaded; waiting ones are told", async () => {
    const { residency, backend } = open();
    const running = use(residency, "a", 500);
    await clock.advance(1_100);
    const waiting = residency.lease("b").catch((error: unknown) => error);
    residency.remove("a");
    residency.remove("b");
    expect(() => residency.acquire("a")).toThrow("model 'a' not found");
    expect(await waiting).toMatchObject({ code: "unknown_model" });
    expect(backend.held()).toBe(GIB);
    await clock.advance(3_000);
    await running;
    expect(backend.held()).toBe(0);
  });

  test("and is not in the library is unknown, not broken", async () => {
    const { residency } = open();
    residency.register("nobody");
    await expect(residency.lease("nobody")).rejects.toMatchObject({ code: "unknown_model" });
  });
});
