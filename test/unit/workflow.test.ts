import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

const ROOT = join(import.meta.dirname, "../..");
const Step = z.looseObject({ uses: z.string().optional(), run: z.string().optional() });
const Workflow = z.looseObject({
  permissions: z.record(z.string(), z.string()),
  jobs: z.record(
    z.string(),
    z.looseObject({
      strategy: z.looseObject({ matrix: z.looseObject({ stack: z.array(z.string()) }) }).optional(),
      "timeout-minutes": z.number(),
      steps: z.array(Step),
    }),
  ),
});

async function previewWorkflow(): Promise<z.output<typeof Workflow>> {
  return Workflow.parse(parse(await readFile(join(ROOT, ".github/workflows/preview.yml"), "utf8")));
}

test("previews every environment that there is", async () => {
  const files = await readdir(join(ROOT, "stacks/config"));
  const stacks = files.flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []);
  const { jobs } = await previewWorkflow();
  expect([...(jobs["preview"]?.strategy?.matrix.stack ?? [])].sort()).toEqual(stacks.sort());
});

test("runs only actions pinned by commit, with read access alone", async () => {
  const { jobs, permissions } = await previewWorkflow();
  const used = Object.values(jobs).flatMap((job) => job.steps.flatMap((step) => step.uses ?? []));
  expect(used.length).toBeGreaterThan(0);
  for (const action of used) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
  expect(permissions).toEqual({ contents: "read" });
});

test("runs only scripts that package.json has", async () => {
  const Package = z.object({ scripts: z.record(z.string(), z.string()) });
  const { scripts } = Package.parse(JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")));
  const { jobs } = await previewWorkflow();
  const runs = Object.values(jobs).flatMap((job) => job.steps.flatMap((step) => step.run ?? []));
  const called = runs.flatMap((run) => /^npm run (?:--silent )?([\w:]+)/.exec(run)?.[1] ?? []);
  expect(called.sort()).toEqual(["check", "preview", "test:unit"]);
  for (const script of called) expect(scripts).toHaveProperty(script);
});
