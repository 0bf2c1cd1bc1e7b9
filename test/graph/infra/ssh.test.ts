import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { NodePrep, RemoteStep, type RemoteStepArgs, type SshTarget } from "../../../infra/index.ts";
import { brokenRules, isSecret, settled, startGraph } from "../../support/graph.ts";
import { CANARY, ground, stubs } from "./stubs.ts";

const REMOTE = "command:remote:Command";

const target: SshTarget = {
  name: "k3s-worker-1",
  host: "192.168.1.202",
  user: "gorkheavy",
  privateKey: CANARY.privateKey,
  hostKey: "ssh-ed25519 AAAA k3s-worker-1",
};

function step(change: Partial<RemoteStepArgs> = {}): RemoteStep {
  return new RemoteStep("step", { target, title: "do it", script: "true", ...change }, ground().opts);
}

test("a step connects with a checked host key, and updates by what it creates with", async () => {
  const graph = await startGraph(stubs);
  const made = step();
  expect(await settled(made.stdout)).toBe("Ready\n");
  await graph.settle();
  const { inputs, secrets } = graph.named("step", REMOTE);
  expect(inputs["connection"]).toEqual({
    host: "192.168.1.202",
    port: 22,
    user: "gorkheavy",
    privateKey: CANARY.privateKey,
    hostKey: "ssh-ed25519 AAAA k3s-worker-1",
    perDialTimeout: 15,
    dialErrorLimit: 10,
  });
  expect(secrets).toEqual(["connection"]);
  expect(inputs["update"]).toBe(inputs["create"]);
  expect(inputs["create"]).toBe("exec sudo -n timeout -k 10 600 bash --norc -s run 'k3s-worker-1: do it' 600");
  expect(inputs["stdin"]).toContain("step_run() {\ntrue\n}");
  expect(inputs).not.toHaveProperty("delete");
  expect(brokenRules(graph, [CANARY.privateKey])).toEqual([]);
});

test("the first contact is tried for longer", async () => {
  const graph = await startGraph(stubs);
  step({ firstContactSeconds: 300 });
  await graph.settle();
  expect(graph.named("step", REMOTE).inputs["connection"]).toMatchObject({ dialErrorLimit: 70 });
});

test("secrets go by standard input and silence the log", async () => {
  const graph = await startGraph(stubs);
  step({ stdin: "canary-in" });
  await graph.settle();
  const { inputs, secrets } = graph.named("step", REMOTE);
  expect(secrets).toContain("stdin");
  expect(inputs["logging"]).toBe("none");
  expect(brokenRules(graph, ["canary-in"])).toEqual([]);
});

test("a secret output is secret and not logged", async () => {
  const graph = await startGraph(stubs);
  const made = step({ secretOutput: true });
  expect(await isSecret(made.stdout)).toBe(true);
  await graph.settle();
  expect(graph.named("step", REMOTE).options.additionalSecretOutputs).toContain("stdout");
  expect(graph.named("step", REMOTE).inputs["logging"]).toBe("none");
});

test("a step is undone by its delete script, within its own deadline", async () => {
  const graph = await startGraph(stubs);
  step({ deleteScript: "rm -f /x", deleteDeadlineSeconds: 30, triggers: [1, "a"] });
  await graph.settle();
  const { inputs } = graph.named("step", REMOTE);
  expect(inputs["delete"]).toBe("exec sudo -n timeout -k 10 30 bash --norc -s undo 'k3s-worker-1: do it' 30");
  expect(inputs["stdin"]).toContain("step_undo() {\nrm -f /x\n}");
  expect(inputs["stdin"]).toContain('# runs again when these change: [1,"a"]\n');
  // The command's own triggers would replace the step, which undoes it first.
  expect(inputs).not.toHaveProperty("triggers");
});

test.each([
  ["title of two lines", { title: "a\nb" }, /want one short line/],
  ["deadlineSeconds of 0", { deadlineSeconds: 0 }, /deadlineSeconds/],
])("a step refuses a %s", async (_, change, message) => {
  await startGraph(stubs);
  expect(() => step(change)).toThrow(message);
});

test("a script that is not known yet is no hindrance to a preview", async () => {
  const graph = await startGraph(stubs, { preview: true });
  const { opts } = ground();
  const first = new RemoteStep("first", { target, title: "first", script: "true" }, opts);
  new RemoteStep("next", { target, title: "next", script: pulumi.interpolate`echo ${first.stdout}` }, opts);
  await graph.settle();
  expect(graph.named("next", REMOTE).unknowns).toEqual(["stdin"]);
});

test("a node is prepared in three steps, the gate last", async () => {
  const graph = await startGraph(stubs);
  const prep = new NodePrep("k3s-worker-1-prep", { target }, ground().opts);
  expect(await settled(prep.state)).toBe("Ready");
  await graph.settle();
  const [contact, system, gate] = ["first-contact", "system", "preflight"].map((t) =>
    graph.named(`k3s-worker-1-prep-${t}`, REMOTE),
  );
  expect(system?.options.dependsOn).toContain(contact?.urn);
  expect(gate?.options.dependsOn).toContain(system?.urn);
  expect(contact?.inputs["connection"]).toMatchObject({ dialErrorLimit: 70 });
  for (const port of ["6443/tcp", "10250/tcp", "8472/udp"])
    expect(system?.inputs["stdin"]).toContain(`ufw allow ${port}`);
  expect(brokenRules(graph, [CANARY.privateKey])).toEqual([]);
});

test.each([
  ["a network that is none", { clusterCidrs: ["10.42.0.0"] }, /clusterCidrs/],
  ["a port over 65535", { openPorts: [{ port: 70_000, protocol: "tcp" as const }] }, /openPorts/],
  ["a user with a space", { user: "a b" }, /Linux user name/],
])("preparation refuses %s", async (_, change, message) => {
  await startGraph(stubs);
  expect(() => new NodePrep("prep", { target, ...change }, ground().opts)).toThrow(message);
});
