import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import existingCluster from "../../../stacks/examples/existing-cluster/index.ts";
import importIntoYourStack from "../../../stacks/examples/import-into-your-stack/index.ts";
import { brokenRules, isSecret, settled, startGraph } from "../../support/graph.ts";
import { KEY_CANARY, KUBECONFIG_CANARY, NODE_TOKEN, WORLD } from "./program.ts";

const KUBERNETES_ONLY = Object.fromEntries(Object.entries(WORLD).filter(([type]) => type.startsWith("kubernetes:")));

test("existing-cluster: an ensemble from a kubeconfig and nothing else", async () => {
  const project = "ensemble-on-my-cluster";
  const graph = await startGraph(KUBERNETES_ONLY, {
    project,
    config: { [`${project}:kubeconfig`]: KUBECONFIG_CANARY },
  });
  const outputs = await existingCluster();
  await graph.settle();
  expect(graph.ofType("kubernetes:apps/v1:Deployment")).toHaveLength(6);
  expect(await settled(outputs.url)).toBe("http://opus-orchestrator.opus-ai-system.svc:8080");
  expect(brokenRules(graph, [KUBECONFIG_CANARY])).toEqual([]);
});

test("existing-cluster: previews without the cluster", async () => {
  const project = "ensemble-on-my-cluster";
  const config = { [`${project}:kubeconfig`]: KUBECONFIG_CANARY };
  const graph = await startGraph(KUBERNETES_ONLY, { project, config, preview: true });
  await existingCluster();
  await graph.settle();
  expect(graph.ofType("kubernetes:core/v1:Service")).toHaveLength(11);
});

test("import-into-your-stack: a cluster and an ensemble beside things of one's own", async () => {
  const project = "my-stack";
  const graph = await startGraph(WORLD, { project, config: { [`${project}:privateKey`]: KEY_CANARY } });
  const outputs = await importIntoYourStack();
  await graph.settle();
  expect(graph.ofType("kubernetes:apps/v1:Deployment")).toHaveLength(6);
  expect(graph.ofType("proxmoxve:index/vmLegacy:VmLegacy")).toEqual([]);
  expect(await settled(outputs.website)).toBe("website");
  expect(await isSecret(outputs.kubeconfig)).toBe(true);
  expect(graph.named("website").provider).toBe(graph.named("opus", "kubernetes:core/v1:Namespace").provider);
  const own = /^website .* has no parent component$/;
  expect(brokenRules(graph, [KEY_CANARY, KUBECONFIG_CANARY, NODE_TOKEN]).filter((rule) => !own.test(rule))).toEqual([]);
});

test.each(["existing-cluster", "import-into-your-stack"])("%s: is a project that the plain CLI runs", async (name) => {
  const folder = join(import.meta.dirname, "../../../stacks/examples", name);
  const Project = z.object({
    name: z.string().regex(/^[a-z-]+$/),
    runtime: z.object({ name: z.literal("nodejs"), options: z.object({ typescript: z.literal(false) }) }),
    config: z.record(
      z.string(),
      z.object({ secret: z.literal(true), type: z.literal("string"), description: z.string() }),
    ),
  });
  const project = Project.parse(parse(await readFile(join(folder, "Pulumi.yaml"), "utf8")));
  const program = await readFile(join(folder, "index.ts"), "utf8");
  for (const key of Object.keys(project.config)) expect(program).toContain(`requireSecret("${key}")`);
});
