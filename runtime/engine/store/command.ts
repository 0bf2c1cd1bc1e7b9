import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { parse } from "yaml";
import { z } from "zod";
import { STORE_PATH } from "../../contracts/model-store-config.ts";
import { ModelStoreSchema, type ModelStoreInput } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import { monotonicMs } from "../../support/clock.ts";
import { integer } from "../../support/options.ts";
import type { PullStep } from "../library.ts";
import { splitPin } from "./source.ts";
import { ModelStore } from "./store.ts";

/** How often progress is written where nobody watches, ms. */
const LINE_MS = 5_000;

interface Flags {
  store: string;
  config?: string;
  storeMaxBytes?: number;
  json?: boolean;
}

/** `models`: what is in a store of models, and the verbs that change it. */
export function modelsCommand(): Command {
  const models = new Command("models").description("models in a store: list them, bring them, check their bytes");
  const verb = (name: string, description: string): Command =>
    models
      .command(name)
      .description(description)
      .option("--store <dir>", "folder of the store", STORE_PATH)
      .option("--config <file>", "the engine's configuration; its section `store` says where models come from")
      .option("--json", "one JSON document a line instead of words");
  verb("list", "models that are there").action(async (flags: Flags) => {
    await within(flags, (store) => list(store, flags.json === true));
  });
  verb("pull <model>", "bring a model, NAME[=SOURCE][@sha256:<64 hex digits>]; one that is there takes no network")
    .option("--profile <name>", "quantization profile, such as Q4_K_M")
    .option("--refresh", "ask the source again also for a model that is there")
    .option(
      "--store-max-bytes <number>",
      "most bytes of the store; models that were not used for longest go",
      integer("store-max-bytes", 1, Number.MAX_SAFE_INTEGER),
    )
    .addHelpText(
      "after",
      "\nSOURCE: a model's name, hf.co/ORG/REPO[:FILE or QUANTIZATION], oci:HOST/REPOSITORY[:TAG], https://…, file:PATH." +
        "\nStopped, it keeps what came; the same command goes on from there.",
    )
    .action(async (model: string, flags: Flags & { profile?: string; refresh?: boolean }) => {
      await within(flags, (store, signal) => pull(store, model, flags, signal));
    });
  verb("rm <models...>", "take models away; bytes that another model needs stay").action(
    async (names: string[], flags: Flags) => {
      await within(flags, async (store) => {
        for (const name of names) {
          await store.remove(name);
          say(flags.json === true, { name, removed: true }, `removed ${name}`);
        }
      });
    },
  );
  verb("verify [model]", "compare all bytes with their digests; exit status 1 where one is wrong").action(
    async (name: string | undefined, flags: Flags) => {
      await within(flags, async (store, signal) => {
        for await (const one of store.verify(name, signal)) {
          if (one.flaw !== undefined) process.exitCode = 1;
          say(flags.json === true, { ...one, ok: one.flaw === undefined }, one.flaw ?? `${one.name}: ok`);
        }
      });
    },
  );
  verb("prune", "take away bytes that no model needs").action(async (flags: Flags) => {
    await within(flags, async (store, signal) => {
      const bytes = await store.collect(signal);
      say(flags.json === true, { freedBytes: bytes }, `${mb(bytes)} MB freed`);
    });
  });
  return models;
}

/** Opens the store for one command. The first Ctrl-C ends what is under way in order, the second one at once. */
async function within(flags: Flags, act: (store: ModelStore, signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  let asked = false;
  const onSignal = (): void => {
    if (asked) process.exit(130);
    asked = true;
    stop.abort(new Fault("cancelled", "stopped"));
  };
  for (const one of ["SIGINT", "SIGTERM"] as const) process.on(one, onSignal);
  const settings = {
    ...(await settingsOf(flags.config)),
    ...(flags.storeMaxBytes === undefined ? {} : { storeMaxBytes: flags.storeMaxBytes }),
  };
  const store = await ModelStore.open(flags.store, {
    settings,
    env: process.env,
    removed: (name) => process.stderr.write(`removed ${name} to make room\n`),
  });
  try {
    await act(store, stop.signal);
  } catch (error) {
    if (!asked) throw error;
    process.stderr.write("\ngorkheavy: stopped; what came is kept, the same command goes on from there\n");
    process.exitCode = 130;
  } finally {
    await store.close();
    for (const one of ["SIGINT", "SIGTERM"] as const) process.off(one, onSignal);
  }
}

async function settingsOf(path: string | undefined): Promise<ModelStoreInput> {
  if (path === undefined) return {};
  const file = z.looseObject({ store: z.unknown().optional() }).safeParse(parse(await readFile(path, "utf8")));
  if (!file.success) throw new Error(`--config ${path}: want a YAML object with a section store`);
  const section = file.data.store ?? {};
  const checked = ModelStoreSchema.safeParse(section);
  if (!checked.success) throw new Error(`--config ${path}: store:\n${z.prettifyError(checked.error)}`);
  return section;
}

async function list(store: ModelStore, json: boolean): Promise<void> {
  const entries = await store.list();
  if (json) {
    for (const entry of entries) say(true, entry, "");
    return;
  }
  const rows = entries.map(({ name, facts, modifiedAt }) => [
    name,
    (facts.digest ?? "").slice(0, 12),
    `${mb(facts.sizeBytes)} MB`,
    `${facts.family} ${facts.parameterSize} ${facts.quantization}`,
    modifiedAt.toISOString(),
  ]);
  const all = [["NAME", "DIGEST", "SIZE", "MODEL", "MODIFIED"], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of all)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
}

async function pull(
  store: ModelStore,
  argument: string,
  { profile, refresh, json = false }: { profile?: string; refresh?: boolean; json?: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { rest, hex } = splitPin(argument);
  const at = rest.indexOf("=");
  const name = at === -1 ? rest : rest.slice(0, at);
  const source = at === -1 ? undefined : rest.slice(at + 1);
  if (refresh !== true && (await store.has(name, hex))) {
    say(json, { name, status: "already here" }, `${name} is here already`);
    return;
  }
  const show = json ? (step: PullStep) => say(true, step, "") : shower(name);
  const beganMs = monotonicMs();
  for await (const step of store.pull(name, { digest: hex, source, profile, signal })) show(step);
  const facts = await store.facts(name);
  const seconds = ((monotonicMs() - beganMs) / 1000).toFixed(1);
  const line = `${name} is here: ${mb(facts?.sizeBytes ?? 0)} MB, sha256:${facts?.digest ?? ""}, ${seconds} s`;
  say(json, { status: "success", name, digest: facts?.digest }, process.stderr.isTTY ? `\r\x1b[K${line}` : line);
}

/** Writes how far a pull is: over itself on a terminal, else a line now and then. */
function shower(name: string): (step: PullStep) => void {
  let lastMs = Number.NEGATIVE_INFINITY;
  let status = "";
  let first: { bytes: number; ms: number } | undefined;
  return ({ status: next, totalBytes, completedBytes }) => {
    const nowMs = monotonicMs();
    if (next !== status) first = undefined;
    const isDue =
      next !== status || nowMs - lastMs >= (process.stderr.isTTY ? 0 : LINE_MS) || completedBytes === totalBytes;
    if (!isDue) return;
    first ??= { bytes: completedBytes ?? 0, ms: nowMs };
    status = next;
    lastMs = nowMs;
    const rate =
      nowMs - first.ms > 500 ? `, ${mb((((completedBytes ?? 0) - first.bytes) / (nowMs - first.ms)) * 1000)} MB/s` : "";
    const share =
      totalBytes === undefined || completedBytes === undefined
        ? ""
        : `: ${mb(completedBytes)} of ${mb(totalBytes)} MB, ${Math.floor((completedBytes / Math.max(1, totalBytes)) * 100)} %${rate}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${name}: ${next}${share}` : `${name}: ${next}${share}\n`);
  };
}

function say(json: boolean, document: unknown, words: string): void {
  process.stdout.write(`${json ? JSON.stringify(document) : words}\n`);
}

/** Megabytes, 10⁶ bytes. */
function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
