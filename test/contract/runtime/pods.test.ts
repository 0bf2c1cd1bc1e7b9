import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { EnsembleConfigSchema, type EnsembleConfigInput } from "../../../runtime/contracts/ensemble-config.ts";
import { Ensemble } from "../../../runtime/orchestrator/ensemble.ts";
import { Upstream } from "../../../runtime/orchestrator/upstream.ts";

const POD = join(import.meta.dirname, "../../support/pod.ts");
const HOSTS = ["127.0.0.2", "127.0.0.3"];

let ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.toReversed()) await end();
  ends = [];
});

/** A port that is free now on all addresses of this machine. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "0.0.0.0");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function startPod(host: string, port: number, waitMs: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [POD, host, `${port}`, `${waitMs}`], { stdio: ["ignore", "pipe", "inherit"] });
  ends.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  await once(child.stdout, "data");
  return child;
}

/** Two pods behind one name, and an ensemble of one member that has them. */
async function startTwo(waitMs: number, deadlines: EnsembleConfigInput["deadlines"] = {}) {
  const port = await freePort();
  const pods = new Map(
    await Promise.all(HOSTS.map(async (host) => [host, await startPod(host, port, waitMs)] as const)),
  );
  const url = `http://127.0.0.1:${port}`;
  const config = EnsembleConfigSchema.parse({
    members: [{ name: "llama", role: "candidate", url, podsUrl: `http://llama-pods:${port}`, model: "m" }],
    deadlines,
    memory: { turns: 0 },
  });
  const resolve = async () => Promise.resolve(HOSTS.map((address) => ({ address, family: 4 })));
  const upstream = new Upstream({ ...config.deadlines, resolve });
  const ensemble = new Ensemble({ config, upstream });
  ends.push(() => ensemble.close());
  /** Asks; says which pod answered, in how many calls and after how long. */
  const ask = async (conversation: string) => {
    const began = performance.now();
    const { reply, stages } = await ensemble.ask({ question: "Why so?", conversation }, new AbortController().signal);
    return {
      host: /127[.0-9]+\d/.exec(reply)?.[0] ?? "",
      attempts: stages[0]?.attempts,
      ms: performance.now() - began,
    };
  };
  /** A conversation that such a pod has. */
  const conversationOf = async (host: string): Promise<string> => {
    for (let i = 0; i < 50; i++) if ((await ask(`c${i}`)).host === host) return `c${i}`;
    throw new Error(`no conversation of 50 went to ${host}`);
  };
  return { ensemble, port, pods, ask, conversationOf };
}

const dead = "127.0.0.2";
const well = "127.0.0.3";

describe("a member with two pods", () => {
  test("keeps a conversation with the pod that has read it, and has conversations on both", async () => {
    const { ask } = await startTwo(0);
    const first = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(`c${i}`)));
    for (const host of HOSTS) expect(first.filter((one) => one.host === host).length).toBeGreaterThan(3);
    for (let i = 0; i < 10; i++) expect((await ask(`c${i}`)).host).toBe((await ask(`c${i}`)).host);
  });

  test("goes on with the other when one is killed in the middle of a call, and asks it no more", async () => {
    const { ask, conversationOf, ensemble, pods, port } = await startTwo(300);
    const conversation = await conversationOf(dead);
    const asked = ask(conversation);
    await new Promise((resolve) => setTimeout(resolve, 150));
    pods.get(dead)?.kill("SIGKILL");
    expect(await asked).toMatchObject({ host: well, attempts: 2 });
    for (let i = 0; i < 3; i++) expect(await ask(conversation)).toMatchObject({ host: well, attempts: 1 });
    expect(await ensemble.metrics.registry.metrics()).toMatch(
      new RegExp(`gorkheavy_breaker_open\\{member="llama",pod="http://${dead}:${port}"\\} 1`),
    );
    const { members, ready } = await ensemble.health.check();
    expect([ready, members[0]?.ready]).toEqual([true, true]);
    expect(members[0]?.pods?.map((one) => one.ready)).toEqual([false, true]);
  });

  test("has it back once it gives a sign of life, without spending a question on it", async () => {
    const { ask, conversationOf, pods, port } = await startTwo(0);
    const conversation = await conversationOf(dead);
    pods.get(dead)?.kill("SIGKILL");
    expect(await ask(conversation)).toMatchObject({ host: well });
    await startPod(dead, port, 0);
    const seen: { host: string; attempts?: number }[] = [];
    for (let i = 0; i < 100 && seen.at(-1)?.host !== dead; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      seen.push(await ask(conversation));
    }
    expect(seen.at(-1)?.host).toBe(dead);
    expect(seen.every(({ attempts }) => attempts === 1)).toBe(true);
  });

  test("leaves one whose connection is open and dead", async () => {
    const { ask, conversationOf, pods } = await startTwo(300, { silenceMs: 100, healthMs: 200 });
    const conversation = await conversationOf(dead);
    const asked = ask(conversation);
    await new Promise((resolve) => setTimeout(resolve, 100));
    pods.get(dead)?.kill("SIGSTOP");
    const { ms, ...answer } = await asked;
    expect(answer).toEqual({ host: well, attempts: 2 });
    expect(ms).toBeLessThan(10_000);
    expect(await ask(conversation)).toMatchObject({ host: well, attempts: 1 });
  });

  test("leaves one that takes no connection and refuses none", async () => {
    const { ask, conversationOf, pods, port } = await startTwo(0, { silenceMs: 0 });
    const conversation = await conversationOf(dead);
    pods.get(dead)?.kill("SIGKILL");
    // A stopped process accepts nothing; once its queue is full the kernel answers no more.
    const hole = spawn(
      process.execPath,
      [
        "-e",
        `require("net").createServer().listen({host:"${dead}",port:${port},backlog:1},()=>{console.log(1);process.kill(process.pid,"SIGSTOP")})`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    ends.push(async () => {
      hole.kill("SIGKILL");
      await once(hole, "exit");
    });
    await once(hole.stdout, "data");
    const sockets: Socket[] = Array.from({ length: 4 }, () => connect(port, dead).on("error", () => undefined));
    ends.push(() => sockets.forEach((socket) => socket.destroy()));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { ms, ...answer } = await ask(conversation);
    expect(answer).toEqual({ host: well, attempts: 2 });
    expect(ms).toBeLessThan(10_000);
  });

  test("answers a server that is only slow: it gives a sign of life each time", async () => {
    const { ask } = await startTwo(700, { silenceMs: 50, healthMs: 1_000 });
    expect(await ask("c")).toMatchObject({ attempts: 1 });
  });
});
