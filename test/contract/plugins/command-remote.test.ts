import { afterEach, describe, expect, test } from "vitest";
import { createCommandPlugin } from "../../../infra/lab/plugins/command/plugin.ts";
import { Secret, UNKNOWN } from "../../../infra/lab/plugins/provider.ts";
import type { CreateCall, Properties, Value } from "../../../infra/lab/plugins/provider.ts";
import { plainOf } from "../../../infra/lab/plugins/values.ts";
import { makeKey, startSshServer } from "./ssh-server.ts";
import type { TestSshServer } from "./ssh-server.ts";

const type = "command:remote:Command";
const plugin = createCommandPlugin();
const client = makeKey();
const servers: TestSshServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(options: Parameters<typeof startSshServer>[0] = {}): Promise<TestSshServer> {
  const server = await startSshServer({ clientKey: client.publicKey, ...options });
  servers.push(server);
  return server;
}

function call(inputs: Properties, extra: Partial<CreateCall> = {}): CreateCall & { lines: string[] } {
  const lines: string[] = [];
  return {
    urn: "urn:pulumi:s::p::command:remote:Command::step",
    type,
    name: "step",
    inputs,
    preview: false,
    timeoutMs: 0,
    signal: new AbortController().signal,
    log: (_level, text) => lines.push(text),
    lines,
    ...extra,
  };
}

async function checked(inputs: Properties): Promise<Properties> {
  const { inputs: result, failures } = await plugin.check({
    urn: "u",
    type,
    name: "step",
    news: inputs,
    randomSeed: new Uint8Array(),
  });
  expect(failures).toEqual([]);
  return result;
}

function connection(server: TestSshServer, extra: Properties = {}): Properties {
  return {
    host: "127.0.0.1",
    port: server.port,
    user: "gorkheavy",
    privateKey: new Secret(client.privateKey),
    hostKey: server.hostKey,
    dialErrorLimit: 0,
    ...extra,
  };
}

describe("a remote command", () => {
  test("runs with its input, and its outputs are secret as the connection is", async () => {
    const server = await serve();
    const inputs = await checked({ connection: connection(server), create: "cat; echo seen >&2", stdin: "hello\n" });
    const { id, properties } = await plugin.create(call(inputs));
    expect(id).toMatch(/^step[0-9a-f]{16}$/);
    expect(properties["stdout"]).toEqual(new Secret("hello"));
    expect(properties["stderr"]).toEqual(new Secret("seen"));
    expect(server.inputs).toEqual(["hello\n"]);
    expect(server.users).toContain("gorkheavy");
  });

  test("sends nothing to a machine with another host key, not even the user's name", async () => {
    const server = await serve();
    const inputs = await checked({
      connection: connection(server, { hostKey: makeKey().publicKey, password: "canary-password", dialErrorLimit: -1 }),
      create: "echo canary-command",
      stdin: "canary-input",
    });
    await expect(plugin.create(call(inputs))).rejects.toThrow(/host key mismatch.*SHA256:.*Nothing was sent/);
    expect({ users: server.users, commands: server.commands, connections: server.connections }).toEqual({
      users: [],
      commands: [],
      connections: 1,
    });
  });

  test("fails with the status and the last words, without its secrets", async () => {
    const server = await serve();
    const inputs = await checked({
      connection: connection(server),
      create: new Secret("echo canary-token-1; echo out; echo canary-token-2 >&2; exit 7"),
      stdin: new Secret("canary-token-2"),
    });
    const failure = plugin.create(call(inputs));
    await expect(failure).rejects.toThrow(/Process exited with status 7: running "\(a secret command\)"[\s\S]*out/);
    await expect(failure).rejects.not.toThrow(/canary-token-2/);
  });

  test("shows its lines as they come, but none with logging off", async () => {
    const server = await serve();
    const loud = call(await checked({ connection: connection(server), create: "echo one; echo two >&2" }));
    await plugin.create(loud);
    expect([...loud.lines].sort()).toEqual(["one", "two"]);
    const quiet = call(await checked({ connection: connection(server), create: "echo one; exit 3", logging: "none" }));
    await expect(plugin.create(quiet)).rejects.not.toThrow(/\none/);
    expect(quiet.lines).toEqual([]);
  });

  test("tries again while the machine refuses, and says how often it tried", async () => {
    const server = await serve({ refuse: 2 });
    const inputs = await checked({ connection: connection(server, { dialErrorLimit: 3 }), create: "true" });
    const attempt = call(inputs);
    await plugin.create(attempt);
    expect(attempt.lines.filter((line) => line.startsWith("Dial"))).toHaveLength(2);
    const refusing = await serve({ refuse: 9 });
    const limited = await checked({ connection: connection(refusing, { dialErrorLimit: 1 }), create: "true" });
    await expect(plugin.create(call(limited))).rejects.toThrow(/127\.0\.0\.1:\d+: after 2 failed attempts/);
  });

  test("ends when the operation is cancelled", async () => {
    const server = await serve();
    const controller = new AbortController();
    const inputs = await checked({ connection: connection(server), create: "echo started; sleep 60" });
    const running = call(inputs, { signal: controller.signal });
    const ended = plugin.create(running);
    await expect.poll(() => running.lines).toContain("started");
    controller.abort(new Error("timed out after 5 s"));
    await expect(ended).rejects.toThrow(/cancelled: timed out after 5 s/);
  });

  test("hands the outputs of before to update and delete", async () => {
    const server = await serve();
    const news = await checked({
      connection: connection(server),
      create: "true",
      update: "echo again",
      delete: "true",
    });
    const olds: Properties = { ...news, stdout: "before", stderr: "" };
    const shared = { ...call(news), id: "step1" };
    const updated = await plugin.update({ ...shared, olds, oldInputs: news, news, ignoreChanges: [] });
    expect(plainOf(updated.properties["stdout"])).toBe("again");
    expect(server.environment).toEqual({ PULUMI_COMMAND_STDOUT: "before" });
    await plugin.delete({ ...shared, properties: updated.properties, inputs: news });
    expect(server.commands).toEqual(["echo again", "true"]);
    expect(server.environment).toEqual({ PULUMI_COMMAND_STDOUT: "again" });
  });

  test("touches nothing in a preview", async () => {
    const server = await serve();
    const inputs = await checked({ connection: connection(server), create: "true" });
    const { properties } = await plugin.create(call(inputs, { preview: true }));
    expect(properties["stdout"]).toBe(UNKNOWN);
    expect(server.connections).toBe(0);
  });
});

describe("what the inputs decide", () => {
  const olds: Properties = { connection: new Secret({ host: "h" }), create: "true", triggers: ["a"] };
  const diff = (oldInputs: Properties, news: Properties) =>
    plugin.diff({ urn: "u", type, name: "n", id: "1", olds: oldInputs, oldInputs, news, ignoreChanges: [] });

  test("changed triggers replace, or update where there is an update command", async () => {
    expect((await diff(olds, { ...olds, triggers: ["b"] })).replaces).toEqual(["triggers"]);
    const updating: Properties = { ...olds, update: "true" };
    expect(await diff(updating, { ...updating, triggers: ["b"] })).toMatchObject({ changes: true, replaces: [] });
  });

  test("marking a value as secret is no change", async () => {
    expect(await diff(olds, { ...olds, create: new Secret("true") })).toMatchObject({ changes: false });
  });

  test.each<[string, Value, RegExp]>([
    ["shell", "x", /unknown property/],
    ["environment", { A: 1 }, /got 1, want text/],
    ["logging", "loud", /want one of stdout/],
  ])("refuses %s", async (property, value, reason) => {
    const { failures } = await plugin.check({
      urn: "u",
      type,
      name: "n",
      news: { connection: { host: "h" }, [property]: value },
      randomSeed: new Uint8Array(),
    });
    expect(failures[0]?.reason).toMatch(reason);
  });
});
