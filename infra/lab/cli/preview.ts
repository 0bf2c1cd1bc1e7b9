import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { readDatacentreConfig } from "../datacentre/config.ts";
import { datacentreStatus } from "../datacentre/start.ts";
import type { Lab } from "../lab.ts";
import { isolated } from "../nodes/isolation.ts";
import { runEngine } from "../stack/engine.ts";
import { countChanged, type EngineDone, type EngineRequest } from "../stack/request.ts";
import { repositoryRoot } from "../tools/paths.ts";
import { resolvePulumi } from "../tools/pulumi.ts";
import { settingOverrides } from "./material.ts";
import { engineRequest } from "./up.ts";
import { step, type Terminal } from "./terminal.ts";

/**
 * Previews a stack with the real engine. The stack of a running lab is compared with what is there; any other with
 * nothing, so it needs no cluster, no host and no token.
 */
export async function preview(
  lab: Lab,
  options: { stack: string; json?: boolean; settings: Record<string, unknown>; tokenFile?: string },
  to: Terminal,
): Promise<void> {
  const names = await stackNames();
  if (!names.includes(options.stack))
    throw new Error(`--stack: got ${JSON.stringify(options.stack)}, want one of ${names.join(", ")}.`);
  const pulumi = await step("pulumi", to, (report) => resolvePulumi(report));
  const live = options.stack === "lab" && (await datacentreStatus(lab)) !== undefined;
  const done = live
    ? await previewLab(lab, pulumi.path, options.settings, to)
    : await previewFromNothing(options, pulumi.path, to);
  if (options.json) {
    to.print(
      JSON.stringify(
        {
          stack: options.stack,
          against: live ? "lab" : "nothing",
          changes: done.changes,
          planned: done.planned,
          ms: done.ms,
        },
        null,
        2,
      ),
    );
    return;
  }
  for (const p of done.planned) to.print(`${p.operation.padEnd(8)} ${p.name} (${p.type})`);
  const changed = countChanged(done.changes);
  to.print(
    changed === 0
      ? "no changes"
      : `${changed} changes: ${Object.entries(done.changes)
          .map(([k, n]) => `${n} ${k}`)
          .join(", ")}`,
  );
}

async function previewLab(
  lab: Lab,
  pulumiPath: string,
  settings: Record<string, unknown>,
  to: Terminal,
): Promise<EngineDone> {
  const { files, runtimeImage } = await readDatacentreConfig(lab);
  const overrides = { ...(await settingOverrides(files, runtimeImage)), ...settings };
  const request = engineRequest(lab, pulumiPath, overrides, "preview");
  return runEngine(request, isolated(lab.name, []), (line) => to.say(line));
}

async function previewFromNothing(
  options: { stack: string; settings: Record<string, unknown>; tokenFile?: string },
  pulumiPath: string,
  to: Terminal,
): Promise<EngineDone> {
  if (options.tokenFile === undefined) {
    to.say(
      "no token of a Proxmox host is set: a placeholder stands in for it; a preview of new resources calls no host",
    );
  }
  const dir = await mkdtemp(join(tmpdir(), "gorkheavy-preview-"));
  const request: EngineRequest = {
    action: "preview",
    stackName: options.stack,
    dir,
    pulumiPath,
    overrides: options.settings,
    ...(options.tokenFile === undefined ? {} : { tokenFile: resolve(options.tokenFile) }),
  };
  try {
    return await runEngine(request, [], (line) => to.say(line));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Names of the environments: one file `stacks/config/Pulumi.NAME.yaml` each. */
async function stackNames(): Promise<string[]> {
  const files = await readdir(join(repositoryRoot, "stacks", "config"));
  return files.flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []).sort();
}
