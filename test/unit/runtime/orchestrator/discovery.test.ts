import { describe, expect, test } from "vitest";
import { MemberSchema } from "../../../../runtime/contracts/ensemble-config.ts";
import { Discovery, type Resolve } from "../../../../runtime/orchestrator/upstream/discovery.ts";

const member = MemberSchema.parse({
  name: "llama",
  role: "candidate",
  url: "http://llama:11434",
  podsUrl: "http://llama-pods:11434/base/",
  model: "m",
});
const plain = MemberSchema.parse({ ...member, podsUrl: undefined });
const failing = (code: string) => Object.assign(new Error(code), { code });

/** A discovery whose name server does as told, on a clock of its own. */
function told(...answers: (string[] | Error | "never")[]) {
  let now = 0;
  const asked: string[] = [];
  const resolve: Resolve = async (host) => {
    asked.push(host);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer === "never") return new Promise(() => undefined);
    if (answer instanceof Error) throw answer;
    return Promise.resolve((answer ?? []).map((address) => ({ address, family: address.includes(":") ? 6 : 4 })));
  };
  const discovery = new Discovery({ waitMs: 20, resolve, now: () => now });
  const pass = async (ms: number): Promise<void> => {
    now += ms;
    await new Promise((done) => setImmediate(done));
  };
  return { discovery, asked, pass };
}

describe("the pods behind a name", () => {
  test("are addresses of both families, in one order; a member without such a name has its own address", async () => {
    const { discovery, asked } = told(["10.0.0.2", "fd00::1", "10.0.0.1"]);
    expect(await discovery.pods(member)).toEqual([
      "http://10.0.0.1:11434/base",
      "http://10.0.0.2:11434/base",
      "http://[fd00::1]:11434/base",
    ]);
    expect(discovery.pods(plain)).toEqual(["http://llama:11434"]);
    expect(asked).toEqual(["llama-pods"]);
  });

  test("are looked for again when old, or in doubt, and no call waits for it", async () => {
    const { discovery, asked, pass } = told(["10.0.0.1"], ["10.0.0.2"], ["10.0.0.3"]);
    await discovery.pods(member);
    await pass(999);
    expect(discovery.pods(member)).toEqual(["http://10.0.0.1:11434/base"]);
    expect(asked).toHaveLength(1);
    await pass(1);
    expect(discovery.pods(member)).toEqual(["http://10.0.0.1:11434/base"]);
    await pass(0);
    expect(discovery.pods(member)).toEqual(["http://10.0.0.2:11434/base"]);
    discovery.doubt(member);
    expect(discovery.pods(member)).toEqual(["http://10.0.0.2:11434/base"]);
    await pass(0);
    expect(discovery.pods(member)).toEqual(["http://10.0.0.3:11434/base"]);
    expect(asked).toHaveLength(3);
  });

  test("are the member's own address while the name stands for nobody", async () => {
    for (const nobody of [failing("ENOTFOUND"), []]) {
      const { discovery, pass } = told(["10.0.0.1"], nobody);
      await discovery.pods(member);
      await pass(1_000);
      await Promise.resolve(discovery.pods(member));
      await pass(0);
      expect(discovery.pods(member)).toEqual(["http://llama:11434"]);
    }
  });

  test("stay while the name server is away", async () => {
    const { discovery, pass } = told(["10.0.0.1"], failing("EAI_AGAIN"));
    await discovery.pods(member);
    await pass(1_000);
    await Promise.resolve(discovery.pods(member));
    await pass(0);
    expect(discovery.pods(member)).toEqual(["http://10.0.0.1:11434/base"]);
  });

  test("are not waited for without end, and many askers are one question", async () => {
    const { discovery, asked } = told("never");
    const all = await Promise.allSettled([discovery.pods(member), discovery.pods(member)]);
    for (const one of all)
      expect(one).toMatchObject({ status: "rejected", reason: { code: "model_unreachable", member: "llama" } });
    expect(asked).toHaveLength(1);
  });
});
