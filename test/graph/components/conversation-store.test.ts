import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { atPort } from "../../../components/ensemble/conversation-store.ts";
import type { EnsembleArgs } from "../../../components/index.ts";
import { Ensemble } from "../../../components/index.ts";
import { parseEnsembleConfig } from "../../../runtime/contracts/index.ts";
import type { RecordedGraph } from "../../support/graph.ts";
import { brokenRules } from "../../support/graph.ts";
import { deploymentOf, KUBECONFIG_CANARY, startCluster } from "./cluster.ts";

async function build(args: Partial<EnsembleArgs> = {}): Promise<RecordedGraph> {
  const { graph, provider } = await startCluster();
  new Ensemble("opus", { image: "ghcr.io/gorkheavy/runtime:0.1.0", ...args }, { provider });
  await graph.settle();
  return graph;
}

/** Password of the tests' database; it must never be seen in plain. */
const PASSWORD_CANARY = "canary-password-51c9";
const DATABASE_URL = `postgres://keeper:${PASSWORD_CANARY}@db.example/gorkheavy`;

/** What a graph says of the conversation store. */
function storeOf(graph: RecordedGraph) {
  const [map] = graph.ofType("kubernetes:core/v1:ConfigMap");
  const pod = deploymentOf(graph.named("opus-orchestrator", "kubernetes:apps/v1:Deployment")).spec.template.spec;
  return {
    kind: parseEnsembleConfig((map?.inputs as { data: Record<string, string> }).data["ensemble.yaml"] ?? "").store.kind,
    env: pod.containers[0].env?.find(({ name }) => name === "GORKHEAVY_DATABASE_URL"),
    waits: JSON.stringify(pod.initContainers),
    egress: JSON.stringify(graph.named("opus-policy-orchestrator").inputs["spec"]),
    secrets: graph.ofType("kubernetes:core/v1:Secret"),
  };
}

test("keeps conversations in the Postgres of a secret URL, which is in a Secret and nowhere in plain", async () => {
  for (const databaseUrl of [pulumi.secret(DATABASE_URL), DATABASE_URL]) {
    const graph = await build({ conversationStore: { databaseUrl } });
    const { kind, env, waits, egress, secrets } = storeOf(graph);
    expect(kind).toBe("postgres");
    expect(env).toEqual({
      name: "GORKHEAVY_DATABASE_URL",
      valueFrom: { secretKeyRef: { name: "opus-orchestrator-database-1a2b3c4d", key: "url" } },
    });
    expect(waits).not.toContain("GORKHEAVY_DATABASE_URL");
    expect(egress).toContain('{"ports":[{"port":5432,"protocol":"TCP"}]}');
    expect(secrets).toHaveLength(1);
    expect(secrets[0]?.inputs).toMatchObject({
      metadata: { namespace: "opus-ai-system" },
      immutable: true,
      stringData: { url: DATABASE_URL },
    });
    expect(secrets[0]?.secrets).toEqual(["stringData"]);
    expect(brokenRules(graph, [KUBECONFIG_CANARY, PASSWORD_CANARY])).toEqual([]);
    // Not as a secret either: a Deployment and a ConfigMap show it to whoever may read them.
    const rest = graph.all.filter(({ custom, type }) => custom && type !== "kubernetes:core/v1:Secret");
    expect(JSON.stringify(rest.map(({ inputs }) => inputs))).not.toContain(PASSWORD_CANARY);
  }
});

test("takes the URL of a Secret that is there, at a port of its own", async () => {
  const graph = await build({
    conversationStore: { databaseUrlSecret: { name: "postgres-app", key: "uri" }, port: 6432 },
  });
  const { kind, env, egress, secrets } = storeOf(graph);
  expect(kind).toBe("postgres");
  expect(env?.valueFrom).toEqual({ secretKeyRef: { name: "postgres-app", key: "uri" } });
  expect(egress).toContain('{"ports":[{"port":6432,"protocol":"TCP"}]}');
  expect(secrets).toEqual([]);
  expect(brokenRules(graph, [KUBECONFIG_CANARY])).toEqual([]);
});

test.each(["seed", "default"] as const)("profile %s: keeps conversations in the process alone", async (profile) => {
  const { kind, env, egress, secrets } = storeOf(await build({ profile }));
  expect({ kind, env, secrets }).toEqual({ kind: "process", env: undefined, secrets: [] });
  expect(egress).not.toContain("5432");
});

test.each<[string, NonNullable<EnsembleArgs["conversationStore"]>, RegExp]>([
  ["without a place", {}, /want either databaseUrl or databaseUrlSecret[\s\S]*at conversationStore/],
  [
    "with two places",
    { databaseUrl: DATABASE_URL, databaseUrlSecret: { name: "a", key: "b" } },
    /want either databaseUrl or databaseUrlSecret/,
  ],
  ["of another kind", { databaseUrl: `mysql://a:${PASSWORD_CANARY}@b/c` }, /want postgres:\/\/[\s\S]*databaseUrl/],
  ["whose URL is none", { databaseUrl: PASSWORD_CANARY }, /want postgres:\/\/[\s\S]*databaseUrl/],
  ["whose Secret has no key", { databaseUrlSecret: { name: "a", key: "" } }, /want a key[\s\S]*databaseUrlSecret.key/],
])("refuses a conversation store %s, and does not say what it got", async (_, conversationStore, message) => {
  const refused = build({ conversationStore }).then(
    () => undefined,
    (error: unknown) => String(error),
  );
  expect(await refused).toMatch(message);
  expect(await refused).not.toContain(PASSWORD_CANARY);
});

test("takes a URL at the port that the policies open, and does not say the URL of another", () => {
  const other = DATABASE_URL.replace("db.example", "db.example:6432");
  expect(atPort(DATABASE_URL, 5432)).toBe(DATABASE_URL);
  expect(atPort(other, 6432)).toBe(other);
  expect(() => atPort(other, 5432)).toThrow(/^conversationStore.port: databaseUrl has another port than 5432; [^@]*$/);
  expect(() => atPort(DATABASE_URL, 6432)).toThrow(/another port than 6432/);
});
