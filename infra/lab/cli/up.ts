import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { datacentreStatus, startDatacentre } from "../datacentre/start.ts";
import { DatacentreConfig, CERTIFICATE_HOSTS, datacentreConfigFile, tokenFile } from "../datacentre/config.ts";
import type { Lab } from "../lab.ts";
import { isolated } from "../nodes/isolation.ts";
import { checkRequirements } from "../nodes/requirements.ts";
import { issueLabCertificates } from "../pve/certificates.ts";
import { runEngine } from "../stack/engine.ts";
import { countChanged, type EngineDone, type EngineRequest } from "../stack/request.ts";
import { acquireLock, LockHeld, readLock } from "../tools/lock.ts";
import { ensurePrograms } from "../tools/packages.ts";
import { repositoryRoot } from "../tools/paths.ts";
import { type Material, gatherMaterial } from "./material.ts";
import { keepOutputs, openOrchestrator } from "./outputs.ts";
import { seconds, step, type Terminal } from "./terminal.ts";

/** Aims of the whole way, ms; printed beside what was measured. Source: the project's own targets, README "How long it takes". */
const AIMS_MS = { cold: 15 * 60_000, fromCaches: 120_000, unchanged: 20_000 } as const;

/** What `up` found and did. */
export interface UpResult {
  /** Resources created, changed or deleted; 0 when everything was as it should be. */
  changed: number;
  ms: number;
}

/**
 * Brings the lab to what the stack's settings say: tools, datacentre, then a real `pulumi up`. Safe to repeat, and to
 * run after a kill at any moment.
 */
export async function up(
  lab: Lab,
  options: { install: boolean; settings: Record<string, unknown> },
  to: Terminal,
): Promise<UpResult> {
  const started = Date.now();
  const unlock = await holdLab(lab, "npm run lab (up)");
  try {
    await ensurePrograms({ install: options.install, report: (line) => to.say(line) });
    await checkRequirements();
    const material = await gatherMaterial(to);
    await ensureDatacentre(lab, material, to);
    const done = await step("pulumi up", to, () =>
      runEngine(
        engineRequest(lab, material.pulumi.path, { ...material.overrides, ...options.settings }, "up"),
        isolated(lab.name, []),
        (line) => to.say(`pulumi: ${line}`),
      ),
    );
    await keepOutputs(lab, done.outputs);
    const changed = countChanged(done.changes);
    to.say(
      changed === 0 ? `nothing changed (${total(done)} resources)` : `${changed} of ${total(done)} resources changed`,
    );
    await openOrchestrator(lab, material.k3s.path);
    const ms = Date.now() - started;
    const [what, aimMs] = material.made
      ? ["with empty caches", AIMS_MS.cold]
      : changed === 0
        ? ["unchanged", AIMS_MS.unchanged]
        : ["from caches", AIMS_MS.fromCaches];
    to.say(`ready in ${seconds(ms)}, ${what} (aim: at most ${seconds(aimMs)})`);
    return { changed, ms };
  } finally {
    await unlock();
  }
}

function total(done: EngineDone): number {
  return Object.values(done.changes).reduce((sum, count) => sum + count, 0);
}

/** What the engine is asked for the lab's own stack. */
export function engineRequest(
  lab: Lab,
  pulumiPath: string,
  overrides: Record<string, unknown>,
  action: EngineRequest["action"],
): EngineRequest {
  return {
    action,
    stackName: "lab",
    dir: join(lab.stateDir, "engine"),
    pulumiPath,
    caFile: lab.caFile,
    tokenFile: tokenFile(lab),
    overrides,
  };
}

/**
 * Takes the lab for one command.
 * @throws Error that names who has it: another command, or a datacentre that another checkout started
 */
export async function holdLab(lab: Lab, purpose: string): Promise<() => Promise<void>> {
  requireRoot();
  const release = await acquireLock(lab.operationLock, purpose).catch((error: unknown) => {
    if (!(error instanceof LockHeld)) throw error;
    throw new Error(
      `Lab "${lab.name}" is in use: ${error.message}. Wait for it, end it, or use another lab with --name.`,
    );
  });
  const running = await readLock(lab.datacentreLock);
  const config = await readFile(datacentreConfigFile(lab), "utf8").catch(() => undefined);
  const known = config === undefined ? undefined : DatacentreConfig.safeParse(JSON.parse(config)).data;
  if (running && known?.root !== repositoryRoot) {
    await release();
    const from = known ? `the checkout ${known.root}` : "another user or state folder";
    throw new Error(
      `Lab "${lab.name}" is held by process ${running.pid}, started from ${from} at ${running.since}. Take it down there, or use another lab with --name.`,
    );
  }
  return release;
}

/** @throws Error on another system than Linux, or without root */
function requireRoot(): void {
  if (process.platform !== "linux") {
    throw new Error(
      `system: got ${process.platform}, want Linux: the lab's machines are Linux containers. Run it in a Linux VM.`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new Error(
      `user: got id ${process.getuid?.()}, want root: the lab makes network namespaces and boots machines. Run it with sudo.`,
    );
  }
}

async function ensureDatacentre(lab: Lab, material: Material, to: Terminal): Promise<void> {
  const config: DatacentreConfig = {
    lab: lab.name,
    root: repositoryRoot,
    files: material.files,
    rootfs: material.rootfs,
    runtimeImage: material.runtimeImage,
  };
  await mkdir(lab.stateDir, { recursive: true, mode: 0o700 });
  const before = await readFile(datacentreConfigFile(lab), "utf8").catch(() => "");
  const running = await datacentreStatus(lab);
  if (running && before === JSON.stringify(config)) return;
  if (!existsSync(tokenFile(lab))) await writeFile(tokenFile(lab), `root@pam!lab=${randomUUID()}\n`, { mode: 0o600 });
  const certificates = await issueLabCertificates(join(lab.stateDir, "certificates"), CERTIFICATE_HOSTS);
  await copyFile(certificates.caFile, lab.caFile);
  // A running datacentre reads its configuration at each request; only a stopped one has to be started.
  if (running) await writeFile(datacentreConfigFile(lab), JSON.stringify(config), { mode: 0o600 });
  else await step("datacentre", to, () => startDatacentre(lab, config));
}
