import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { checkHosts, HostPool } from "../../../infra/index.ts";
import program from "../../../stacks/index.ts";
import type { Calls, RecordedGraph } from "../../support/graph.ts";
import { startGraph } from "../../support/graph.ts";
import { committedSettings, GET_DATASTORES, HOSTS_ANSWER, TOKEN_CANARY, WORLD } from "./program.ts";

/** Runs the program of the stack on hosts that answer so; what it threw, and what had been registered by then. */
async function refused(answer: Calls[string]): Promise<{ error: unknown; graph: RecordedGraph }> {
  const graph = await startGraph(WORLD, {
    calls: { [GET_DATASTORES]: answer },
    config: {
      "gorkheavy:settings": JSON.stringify(await committedSettings("homelab")),
      "gorkheavy:proxmoxApiToken": TOKEN_CANARY,
    },
  });
  const error = await program().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  await graph.settle();
  return { error, graph };
}

/** Types of what was asked for, without the stack and the hosts' own providers. */
function made(graph: RecordedGraph): string[] {
  const harmless = ["pulumi:pulumi:Stack", "gorkheavy:proxmox:HostPool", "pulumi:providers:proxmoxve"];
  return graph.all.map((r) => r.type).filter((type) => !harmless.includes(type));
}

const good = (inputs: Record<string, unknown>): Record<string, unknown> => HOSTS_ANSWER[GET_DATASTORES]?.(inputs) ?? {};

test("a missing datastore ends it before anything is made, and names those that there are", async () => {
  const { error, graph } = await refused((inputs) =>
    inputs["nodeName"] === "thinkcentre-2"
      ? { datastores: [{ id: "local", type: "dir", contentTypes: ["images", "import", "iso"] }] }
      : good(inputs),
  );
  expect(pulumi.ResourceError.isInstance(error) && error.hideStack).toBe(true);
  expect(String(error)).toMatch(
    /hosts\.thinkcentre-2\.datastore: got "local-lvm", which node thinkcentre-2 does not have; there are local \(images,import,iso\); set it to one of these, such as local$/,
  );
  expect(made(graph)).toEqual([]);
});

test("two bad hosts are in one message, without the token", async () => {
  const { error, graph } = await refused((inputs) => {
    if (inputs["nodeName"] === "thinkcentre-1") throw new Error(`401 Unauthorized for ${TOKEN_CANARY}`);
    if (inputs["nodeName"] === "thinkcentre-3")
      throw new Error("dial tcp 192.168.1.213:8006: connect: no route to host");
    return good(inputs);
  });
  const lines = String(error).split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/hosts\.thinkcentre-1: .* does not accept the API token/);
  expect(lines[1]).toMatch(
    /hosts\.thinkcentre-3\.endpoint: got https:\/\/192\.168\.1\.213:8006, which does not answer/,
  );
  expect(String(error)).not.toContain(TOKEN_CANARY.slice(-12));
  expect(made(graph)).toEqual([]);
});

test("every host is asked by its own provider, and none in a preview", async () => {
  const asked: unknown[] = [];
  const calls: Calls = {
    [GET_DATASTORES]: (inputs) => {
      asked.push(inputs["nodeName"]);
      return good(inputs);
    },
  };
  for (const preview of [true, false]) {
    const graph = await startGraph(WORLD, { calls, preview });
    const hosts = ["a", "b"].map((name) => ({ name, endpoint: `https://${name}:8006`, node: `node-${name}` }));
    const pool = new HostPool("hosts", { hosts, apiToken: pulumi.secret(TOKEN_CANARY) });
    await pool.check();
    await checkHosts(pool.hosts.slice(0, 1));
    await graph.settle();
    expect(asked).toEqual(preview ? [] : ["node-a", "node-b", "node-a"]);
  }
});
