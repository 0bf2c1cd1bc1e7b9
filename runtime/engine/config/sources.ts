import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { codeOf } from "../../support/error-code.ts";
import { type EngineConfig, EngineConfigSchema, EngineModelSchema } from "../../contracts/engine-config.ts";
import { EngineStreamConfigSchema } from "../../contracts/engine-stream-config.ts";
import { ModelStoreSchema } from "../../contracts/model-store-config.ts";
import { jsonOf } from "../../support/json.ts";
import { keepAliveMs } from "../residency/keep-alive.ts";
import { optionOf, type Setting, SETTINGS, variableOf } from "./settings.ts";

/** Where settings come from; each wins over those before it. */
export interface Sources {
  /** YAML or JSON file, such as one of a mounted ConfigMap. */
  file?: string;
  /** Folder with one file a setting, such as a mounted Secret: `adminToken`, or `GORKHEAVY_ADMIN_TOKEN`. */
  secrets?: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Values of the flags that were given, by commander's names. */
  flags: Readonly<Record<string, unknown>>;
}

/** What the sources together say. */
export interface Resolved {
  config: EngineConfig;
  /** By setting, where its value is from; those that are not in it have their defaults. */
  from: ReadonlyMap<string, string>;
  /** What is odd, but can be passed over. */
  warnings: readonly string[];
}

/** A configuration that cannot be used: every fault in it, one a line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

type Tree = Record<string, unknown>;

/** Reads all sources. @throws ConfigError naming each wrong setting, its source, what it got and what is allowed */
export async function resolveConfig(sources: Sources): Promise<Resolved> {
  const tree: Tree = {};
  const from = new Map<string, string>();
  const warnings: string[] = [];
  if (sources.file !== undefined) await fromFile(sources.file, tree, from);
  if (sources.secrets !== undefined) await fromSecrets(sources.secrets, tree, from);
  await fromEnvironment(sources.env, tree, from, warnings);
  fromFlags(sources.flags, tree, from);
  const parsed = EngineConfigSchema.safeParse(tree);
  if (parsed.success) return { config: parsed.data, from, warnings };
  const flaws = parsed.error.issues.flatMap((issue): string[] => {
    const path = issue.path.map(String);
    if (issue.code === "unrecognized_keys") {
      const near = path.length === 0 ? SETTINGS.map((one) => one.path.split(".")[0] ?? "") : childrenOf(path.join("."));
      return issue.keys.map((key) => {
        const name = [...path, key].join(".");
        return `${name} (${sourceOf(name, from)}): no such setting, want one of ${[...new Set(near)].join(", ")}`;
      });
    }
    return [`${named(path)} (${sourceOf(path.join("."), from)}): got ${shown(tree, path)}, ${wanted(issue.message)}`];
  });
  throw new ConfigError(flaws.join("\n"));
}

async function fromFile(file: string, tree: Tree, from: Map<string, string>): Promise<void> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new ConfigError(
      `--config ${file}: cannot be read (${codeOf(cause) ?? "unreadable"}); give the path of a YAML or JSON file`,
      {
        cause,
      },
    );
  });
  let given: unknown;
  try {
    given = parse(text);
  } catch (cause) {
    throw new ConfigError(`--config ${file}: neither YAML nor JSON: ${firstLine(cause)}`, { cause });
  }
  if (given === null || given === undefined) return;
  if (typeof given !== "object" || Array.isArray(given))
    throw new ConfigError(`--config ${file}: want settings by name`);
  for (const { path, secret } of SETTINGS) {
    if (secret === true && path in given)
      throw new ConfigError(
        `${path} (${file}): a configuration file is no place for a secret; give ${path} in a Secret's folder (--secrets) or as an environment variable`,
      );
  }
  Object.assign(tree, structuredClone(given));
  if (Array.isArray(tree["models"]))
    tree["models"] = tree["models"].map((one: unknown) => (typeof one === "string" ? modelOf(one) : one));
  note(given as Tree, "", (path) => from.set(path, file));
}

async function fromSecrets(folder: string, tree: Tree, from: Map<string, string>): Promise<void> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new ConfigError(
      `--secrets ${folder}: cannot be read (${codeOf(cause) ?? "unreadable"}); give a folder with one file a setting`,
      {
        cause,
      },
    );
  });
  for (const name of names.filter((one) => !one.startsWith("."))) {
    const setting = SETTINGS.find((one) => one.path === name || variableOf(one) === name);
    const path = join(folder, name);
    if (setting === undefined)
      throw new ConfigError(`${path}: no such setting; want a file such as adminToken or GORKHEAVY_ADMIN_TOKEN`);
    put(tree, from, setting, await readText(path), path);
  }
}

async function fromEnvironment(
  env: Sources["env"],
  tree: Tree,
  from: Map<string, string>,
  warnings: string[],
): Promise<void> {
  for (const setting of SETTINGS) {
    const name = variableOf(setting);
    const [value, file] = [env[name], env[`${name}_FILE`]];
    if (value !== undefined && file !== undefined) throw new ConfigError(`${name} and ${name}_FILE: want one of them`);
    if (file !== undefined) put(tree, from, setting, await readText(file, `${name}_FILE`), `${name}_FILE`);
    if (value === undefined || value === "") continue;
    // A Service called `gorkheavy` makes Kubernetes set GORKHEAVY_PORT=tcp://… in every pod of its namespace.
    if (/^tcp:\/\//.test(value)) warnings.push(`${name}: passed over, Kubernetes sets it for a Service of that name`);
    else put(tree, from, setting, value, name);
  }
}

function fromFlags(flags: Sources["flags"], tree: Tree, from: Map<string, string>): void {
  for (const setting of SETTINGS) {
    const option = optionOf(setting);
    const value = option === undefined ? undefined : flags[option];
    if (value === undefined) continue;
    const text = Array.isArray(value)
      ? `${value.join("\n")}\n`
      : typeof value === "string"
        ? value
        : JSON.stringify(value);
    put(tree, from, setting, text, setting.flag.split(" ")[0] ?? setting.flag);
  }
}

/** Lays one value over what is there. */
function put(tree: Tree, from: Map<string, string>, setting: Setting, text: string, source: string): void {
  const keys = setting.path.split(".");
  const last = keys.pop() ?? "";
  let at = tree;
  for (const key of keys) {
    const inner = at[key];
    const next: Tree = isTree(inner) ? inner : {};
    at[key] = next;
    at = next;
  }
  at[last] = valueOf(setting, text);
  from.set(setting.path, source);
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value of a text; the text itself where it is none, for the contract to refuse. */
function valueOf({ kind }: Setting, text: string): unknown {
  const bare = text.trim();
  switch (kind) {
    case "text":
      return bare;
    case "number":
      return bare !== "" && Number.isFinite(Number(bare)) ? Number(bare) : bare;
    case "switch":
      return { true: true, yes: true, on: true, false: false, no: false, off: false }[bare] ?? bare;
    case "seconds":
      try {
        const ms = keepAliveMs(bare) ?? 0;
        return Number.isFinite(ms) ? ms / 1000 : -1;
      } catch {
        return bare;
      }
    case "section":
      return jsonOf(bare) ?? bare;
    case "models":
      return bare
        .split(text.includes("\n") ? /\n/ : /[\s,]+/)
        .filter((one) => one !== "")
        .map(modelOf);
  }
}

/** `family:tag` or `family:tag=FILE.gguf`. */
function modelOf(text: string): { name: string; file?: string } {
  const at = text.indexOf("=");
  if (at === -1) return { name: text };
  const file = text.slice(at + 1);
  return { name: text.slice(0, at), file: file === "" ? "" : resolve(file) };
}

async function readText(path: string, source = path): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (cause) {
    throw new ConfigError(`${source}: ${path} cannot be read (${codeOf(cause) ?? "unreadable"})`, { cause });
  }
}

/** Calls with every path of a tree that holds no further tree. */
function note(tree: Tree, above: string, tell: (path: string) => void): void {
  for (const [key, value] of Object.entries(tree)) {
    if (isTree(value)) note(value, `${above}${key}.`, tell);
    else tell(`${above}${key}`);
  }
}

function sourceOf(path: string, from: ReadonlyMap<string, string>): string {
  const found = [...from].find(
    ([known]) => path === known || path.startsWith(`${known}.`) || known.startsWith(`${path}.`),
  );
  return found?.[1] ?? "default";
}

/** Parts of the configuration whose settings are not given one by one outside of the file. */
const SECTIONS: Readonly<Record<string, { shape: object }>> = {
  models: EngineModelSchema,
  storage: ModelStoreSchema,
  stream: EngineStreamConfigSchema,
};

function childrenOf(path: string): string[] {
  const section = SECTIONS[path.split(".")[0] ?? ""];
  if (section !== undefined) return Object.keys(section.shape);
  return SETTINGS.filter((one) => one.path.startsWith(`${path}.`)).map((one) => one.path.slice(path.length + 1));
}

/** `models.0.name` as people write it: `models[0].name`. */
function named(path: readonly string[]): string {
  return path.reduce((text, key) => (/^\d+$/.test(key) ? `${text}[${key}]` : text === "" ? key : `${text}.${key}`), "");
}

function shown(tree: Tree, path: readonly string[]): string {
  if (SETTINGS.some((one) => one.secret === true && one.path === path.join("."))) return "something that is not shown";
  const value = path.reduce<unknown>((at, key) => (at as Tree | undefined)?.[key], tree);
  return (JSON.stringify(value) ?? "nothing").slice(0, 80);
}

function wanted(message: string): string {
  return message.startsWith("want") ? message : `want it otherwise: ${message}`;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : "unreadable").split("\n")[0] ?? "";
}
