import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RedisConfigSchema } from "../../../runtime/contracts/redis-config.ts";
import { createKey } from "../../../runtime/orchestrator/access/command.ts";
import { MemoryMeter } from "../../../runtime/orchestrator/access/meter.ts";
import { RedisMeter } from "../../../runtime/orchestrator/access/redis-meter.ts";
import { SharedRedis } from "../../../runtime/orchestrator/redis.ts";
import { startMockEnsemble } from "../../support/ensemble.ts";

const program = ((): string | undefined => {
  try {
    return execFileSync("sh", ["-c", "command -v redis-server"]).toString().trim();
  } catch {
    return undefined;
  }
})();

let dir: string;
let socket: string;
let server: ChildProcess | undefined;
const QUIET = { info: () => undefined, warn: () => undefined };

async function startRedis(): Promise<void> {
  server = spawn(
    program ?? "",
    ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir],
    {
      stdio: "ignore",
    },
  );
  const probe = new SharedRedis(RedisConfigSchema.parse({ url: `unix://${socket}`, commandMs: 5_000 }), {}, QUIET);
  const until = Date.now() + 15_000;
  while ((await probe.use((client) => client.ping())) !== "PONG") {
    if (Date.now() > until) throw new Error("redis-server did not come up");
    await sleep(50);
  }
  await probe.close();
}

async function stopRedis(): Promise<void> {
  const gone = new Promise((resolve) => server?.once("exit", resolve));
  server?.kill("SIGKILL");
  await gone;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "gorkheavy-redis-"));
  socket = join(dir, "redis.sock");
  if (program !== undefined) await startRedis();
});
afterAll(async () => {
  if (program !== undefined) await stopRedis();
  await rm(dir, { recursive: true, force: true });
});

const redisOf = (said: string[] = []): SharedRedis =>
  new SharedRedis(RedisConfigSchema.parse({ url: `unix://${socket}`, commandMs: 5_000 }), {}, {
    info: (text: unknown) => said.push(String(text)),
    warn: (_: unknown, text: string) => said.push(text),
  } as never);

describe.skipIf(program === undefined)("a Redis", () => {
  test("counts the requests and tokens of all replicas together, by the rule of one process", async () => {
    const redises = [redisOf(), redisOf()];
    const [one, two] = redises.map((redis) => new RedisMeter(redis, new MemoryMeter(10)));
    const limits = { requestsPerMinute: 4, tokensPerDay: 100 };
    const verdicts = [];
    for (let time = 0; time < 5; time++) verdicts.push(await (time % 2 === 0 ? one : two)?.take("key:a", limits));
    expect(verdicts.map((verdict) => verdict?.ok)).toEqual([true, true, true, true, false]);
    expect(verdicts[0]).toMatchObject({ allowance: { limit: 4, remaining: 3 } });
    expect(verdicts[4]).toMatchObject({ of: "requests", allowance: { remaining: 0 } });
    one?.spend("key:b", 60);
    two?.spend("key:b", 40);
    await expect.poll(async () => (await one?.take("key:b", limits))?.ok, { timeout: 10_000 }).toBe(false);
    expect(await two?.take("key:b", { tokensPerDay: 100 })).toMatchObject({ ok: false, of: "tokens" });
    for (const redis of redises) await redis.close();
  });

  test("keeps answers for all replicas; while it is away each works alone, and says so once", async () => {
    const keysFile = join(dir, "keys.yaml");
    // A name of its own: the test before has emptied the bucket of key a.
    const key = await createKey(keysFile, { id: "cached", requestsPerMinute: 1_000 });
    const config = {
      redis: { url: `unix://${socket}`, commandMs: 5_000 },
      cache: { store: "redis" as const },
      access: { keysFile },
    };
    const replicas = [await startMockEnsemble({}, config), await startMockEnsemble({}, config)];
    const ask = async (replica: number, question: string) => {
      const answer = await fetch(`${replicas[replica]?.url}/ask`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}` },
        body: JSON.stringify({ question }),
      });
      await answer.text();
      return [answer.status, answer.headers.get("x-gorkheavy-cache")];
    };
    // The members' addresses are a part of what an answer depends on, and each replica here has mocks of its own.
    expect(await ask(0, "Why?")).toEqual([200, "miss"]);
    await expect.poll(() => ask(0, "Why?"), { timeout: 10_000 }).toEqual([200, "hit"]);
    expect(await ask(1, "Why?")).toEqual([200, "miss"]);

    await stopRedis();
    expect(await ask(0, "Why?")).toEqual([200, "miss"]);
    expect(await ask(0, "Why?")).toEqual([200, "miss"]);
    const metrics = await (await fetch(`${replicas[0]?.url}/metrics`)).text();
    expect(metrics).toContain("gorkheavy_redis_down 1");
    await startRedis();
    await expect.poll(() => ask(0, "When?"), { timeout: 15_000, interval: 200 }).toEqual([200, "hit"]);
    await Promise.all(replicas.map((replica) => replica.close()));
  }, 60_000);

  test("that is away is said once, and once that it is back", async () => {
    const said: string[] = [];
    const redis = redisOf(said);
    expect(await redis.use((client) => client.ping())).toBe("PONG");
    await stopRedis();
    for (let time = 0; time < 3; time++) expect(await redis.use((client) => client.ping())).toBeUndefined();
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/redis does not answer/);
    await startRedis();
    await expect.poll(() => redis.use((client) => client.ping()), { timeout: 15_000 }).toBe("PONG");
    expect(said).toEqual([expect.anything(), "redis is back"]);
    await redis.close();
  }, 60_000);
});

test("an address that is named and not there is an error that shows no password", () => {
  const config = RedisConfigSchema.parse({ urlEnv: "REDIS_URL" });
  expect(() => new SharedRedis(config, {}, QUIET)).toThrow(
    /redis.urlEnv: the environment variable REDIS_URL is not set/,
  );
  expect(() => new SharedRedis(config, { REDIS_URL: "secret@host" }, QUIET)).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining("secret") as string }),
  );
});
