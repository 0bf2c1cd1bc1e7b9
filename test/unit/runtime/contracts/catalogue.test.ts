import { expect, test } from "vitest";
import {
  CATALOGUE,
  CatalogueModelSchema,
  ensembleTotals,
  modelNamed,
  ORCHESTRATOR_RESOURCES,
  PROFILE_NAMES,
  PROFILES,
  renderCpu,
  renderMemory,
  ResourcesSchema,
  threadsFor,
  totalOf,
} from "../../../../runtime/contracts/catalogue.ts";

test("holds the seed's table, figure by figure", () => {
  const table = CATALOGUE.map(({ name, model, role, resources: { requests, limits } }) =>
    [name, model, role, requests.cpuMillicores, requests.memoryMib, limits.cpuMillicores, limits.memoryMib].join(" "),
  );
  expect(table).toEqual([
    "promptimizer granite4:350m rewriter 300 512 800 1536",
    "llama llama3.2:1b candidate 400 1024 900 2048",
    "qwen qwen2.5-coder:1.5b candidate 400 1024 900 2048",
    "qwen-small qwen3:0.6b candidate 250 512 600 1536",
    "judge gemma3:1b judge 400 1024 900 2048",
  ]);
  expect(ORCHESTRATOR_RESOURCES).toEqual({
    requests: { cpuMillicores: 100, memoryMib: 128 },
    limits: { cpuMillicores: 200, memoryMib: 256 },
  });
});

test("only qwen-small waits for the rewrite", () => {
  expect(CATALOGUE.filter((entry) => entry.prompt === "rewritten").map((entry) => entry.name)).toEqual(["qwen-small"]);
});

test("adds up to what the table says, not to what the seed's prose says", () => {
  expect(ensembleTotals()).toEqual({
    requests: { cpuMillicores: 1850, memoryMib: 4224 },
    limits: { cpuMillicores: 4300, memoryMib: 9472 },
  });
  expect(totalOf([])).toEqual({ cpuMillicores: 0, memoryMib: 0 });
});

test("finds a model by its member's name", () => {
  expect(modelNamed("judge")?.model).toBe("gemma3:1b");
  expect(modelNamed("oracle")).toBeUndefined();
});

test("keeps the seed's probes under the name seed", () => {
  const { liveness, readiness, startup, spread, waitPath, waitExtraSeconds } = PROFILES.seed;
  expect(liveness).toMatchObject({
    path: "/api/tags",
    initialDelaySeconds: 60,
    periodSeconds: 10,
    failureThreshold: 3,
  });
  expect(readiness).toMatchObject({ path: "/api/tags", initialDelaySeconds: 45, periodSeconds: 5 });
  expect(startup).toBeUndefined();
  expect(spread).toEqual({ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule" });
  expect([waitPath, waitExtraSeconds]).toEqual(["/api/tags", 30]);
});

test("is ready in the default profile only when weights are loaded", () => {
  const { readiness, startup, waitPath, spread, waitExtraSeconds } = PROFILES.default;
  expect([readiness.path, startup?.path, waitPath]).toEqual(["/models/health", "/api/health", "/models/health"]);
  expect(waitExtraSeconds).toBe(0);
  expect(spread.nodeTaintsPolicy).toBe("Honor");
});

test("has a profile for each name", () => {
  expect(PROFILE_NAMES.map((name) => PROFILES[name].name)).toEqual(["default", "seed"]);
});

test("refuses a limit below its request and says both", () => {
  const low = { requests: { cpuMillicores: 400, memoryMib: 1024 }, limits: { cpuMillicores: 300, memoryMib: 512 } };
  const issues = ResourcesSchema.safeParse(low).error?.issues.map(
    (issue) => `${issue.path.join(".")}: ${issue.message}`,
  );
  expect(issues).toEqual([
    "limits.cpuMillicores: limit 300 is below its request 400; raise the limit or lower the request",
    "limits.memoryMib: limit 512 is below its request 1024; raise the limit or lower the request",
  ]);
});

test("wants a model with its tag", () => {
  const entry = { ...CATALOGUE[0], model: "llama3.2" };
  expect(CatalogueModelSchema.safeParse(entry).error?.issues[0]?.message).toMatch(/family:tag/);
});

test("gives whole threads, rounded down, one at least", () => {
  expect([100, 900, 1000, 1999, 4000].map(threadsFor)).toEqual([1, 1, 1, 1, 4]);
});

test("spells amounts as the API server gives them back", () => {
  expect([300, 1000, 1850].map(renderCpu)).toEqual(["300m", "1", "1850m"]);
  expect([512, 1536, 2048].map(renderMemory)).toEqual(["512Mi", "1536Mi", "2Gi"]);
});
