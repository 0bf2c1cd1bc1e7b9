import { randomBytes } from "node:crypto";
import { z } from "zod";
import { AssetValue, Secret, UNKNOWN } from "../provider.ts";
import type {
  CheckFailure,
  CreateCall,
  DiffCall,
  DiffResult,
  Log,
  Properties,
  ProviderPlugin,
  RunningCall,
  UpdateCall,
  Value,
} from "../provider.ts";
import { checkShape } from "../shape.ts";
import { containsSecret, diffProperties, markReplaces, plainOf, rootOfPath, sameValue } from "../values.ts";
import { connectionSchema } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { copyToRemote } from "./copy.ts";
import { collectArchive, collectAssets, runLocal } from "./local-run.ts";
import { runRemote } from "./remote-run.ts";
import { localRunShape, resourceShapes, withDefaults } from "./schema.ts";

/** The version of the SDK whose behaviour this stands in for. */
export const COMMAND_VERSION = "1.2.1";

const REMOTE = "command:remote:Command";
const LOCAL = "command:local:Command";
const COPY = "command:remote:CopyToRemote";

/** A stand-in for the `command` provider: remote.Command, remote.CopyToRemote, local.Command and local.run. */
export function createCommandPlugin(): ProviderPlugin {
  return {
    name: "command",
    version: COMMAND_VERSION,
    acceptsSecrets: true,
    async configure(config) {
      const [unknown] = Object.keys(config);
      if (unknown !== undefined) throw new Error(`command:${unknown}: the command provider has no settings`);
      await Promise.resolve();
    },
    async check({ type, news }) {
      const shape = resourceShapes[type];
      if (shape === undefined) throw unknownType(type);
      const failures = [...checkShape(news, shape), ...(type === COPY ? checkSource(news) : [])];
      return { inputs: withDefaults(type, news), failures };
    },
    async diff(call) {
      return diffResource(call);
    },
    async create(call) {
      const id = call.type === COPY ? randomId("") : randomId(call.name);
      return { id, properties: await applyCreate(call) };
    },
    async read({ id, inputs, properties }) {
      // The provider reads nothing back: what ran, ran.
      return { id, inputs: inputs ?? {}, properties: properties ?? {} };
    },
    async update(call) {
      return { properties: await applyUpdate(call) };
    },
    async delete(call) {
      const command = call.properties["delete"];
      if (call.type === COPY || command === undefined || command === null) return;
      await runCommand(call, call.properties, command, call.properties);
    },
    async invoke({ token, args, signal }) {
      if (token !== "command:local:run")
        throw new Error(`command: unknown function ${token}; this stand-in has local.run`);
      const failures = checkShape(args, localRunShape);
      if (failures.length > 0) return { failures };
      const call = { type: LOCAL, signal, log: () => undefined };
      const ran = await runCommand(call, args, args["command"] ?? "", {});
      return { properties: { ...args, ...ran } };
    },
  };
}

function unknownType(type: string): Error {
  return new Error(
    `command: unknown resource type ${type}; this stand-in has ${Object.keys(resourceShapes).join(", ")}`,
  );
}

function checkSource(news: Properties): CheckFailure[] {
  const source = news["source"];
  if (!(source instanceof AssetValue)) return [];
  if (source.path !== undefined) return [];
  if (source.kind === "asset" && source.text !== undefined) return [];
  const reason =
    source.kind === "asset"
      ? "asset must be a path-based file asset or a text asset"
      : "archive must be a path to a file or directory";
  return [{ property: "source", reason }];
}

/** The provider's ids: the name and 8 random bytes in hex. */
function randomId(name: string): string {
  return `${name}${randomBytes(8).toString("hex")}`;
}

function diffResource({ type, oldInputs, news }: DiffCall): DiffResult {
  const diffs = diffProperties(oldInputs, news);
  // With an `update` command, changed triggers update; without one they replace. Source: command 1.2.1, CommandArgs.triggers.
  const triggersReplace = type === COPY || (news["update"] ?? null) === null;
  const replaces = (path: string): boolean => triggersReplace && rootOfPath(path) === "triggers";
  const changed = Object.keys(diffs);
  return {
    changes: changed.length > 0,
    replaces: changed.some(replaces) ? ["triggers"] : [],
    detailed: markReplaces(diffs, replaces),
  };
}

async function applyCreate(call: CreateCall): Promise<Properties> {
  const { inputs } = call;
  if (call.type === COPY) {
    if (!call.preview) await copy(call, inputs);
    return inputs;
  }
  if (call.preview) return { ...inputs, ...unknownOutputs(call.type) };
  const command = inputs["create"];
  if (command === undefined) return { ...inputs, stdout: "", stderr: "" };
  return { ...inputs, ...(await runCommand(call, inputs, command, {})) };
}

async function applyUpdate(call: UpdateCall): Promise<Properties> {
  const { news, olds } = call;
  if (call.type === COPY) {
    const needed = !sameValue(news["source"], olds["source"]) || !sameValue(news["remotePath"], olds["remotePath"]);
    if (needed && !call.preview) await copy(call, news);
    return news;
  }
  if (call.preview) return { ...news, ...unknownOutputs(call.type) };
  const previous = { stdout: olds["stdout"] ?? "", stderr: olds["stderr"] ?? "" };
  const command = news["update"] ?? news["create"];
  if (command === undefined) return { ...news, ...previous };
  return { ...news, ...(await runCommand(call, news, command, previous)) };
}

function unknownOutputs(type: string): Properties {
  const outputs: Properties = { stdout: UNKNOWN, stderr: UNKNOWN };
  return type === LOCAL ? { ...outputs, assets: UNKNOWN, archive: UNKNOWN } : outputs;
}

async function copy(call: RunningCall, inputs: Properties): Promise<void> {
  const source = inputs["source"];
  const asset = source instanceof Secret ? source.value : source;
  if (!(asset instanceof AssetValue)) throw new Error("source: is required");
  await copyToRemote({
    connection: connectionOf(inputs),
    source: asset,
    remotePath: textOf(inputs["remotePath"]) ?? "",
    signal: call.signal,
    log: call.log,
  });
}

const environmentSchema = z.record(z.string(), z.string()).catch({});
const loggingSchema = z.enum(["stdout", "stderr", "stdoutAndStderr", "none"]).catch("stdoutAndStderr");

/** Runs one of a resource's commands and gives its outputs; they are secret as soon as one input of it is. */
async function runCommand(
  call: { type: string; signal: AbortSignal; log: Log },
  inputs: Properties,
  command: Value,
  previous: Properties,
): Promise<Properties> {
  const secrets = secretTexts(inputs);
  const environment = { ...environmentSchema.parse(plainOf(inputs["environment"])) };
  if (plainOf(inputs["addPreviousOutputInEnv"]) !== false) {
    const stdout = textOf(previous["stdout"]);
    const stderr = textOf(previous["stderr"]);
    if (stdout) environment["PULUMI_COMMAND_STDOUT"] = stdout;
    if (stderr) environment["PULUMI_COMMAND_STDERR"] = stderr;
  }
  const run = {
    command: textOf(command) ?? "",
    shownCommand: containsSecret(command) ? "(a secret command)" : (textOf(command) ?? ""),
    stdin: textOf(inputs["stdin"]),
    environment,
    logging: loggingSchema.parse(plainOf(inputs["logging"])),
    secrets,
    signal: call.signal,
    log: call.log,
  };
  const guard = (value: Value): Value => (containsSecret(inputs) ? new Secret(value) : value);
  if (call.type === REMOTE) {
    const { stdout, stderr } = await runRemote({ ...run, connection: connectionOf(inputs) });
    return { stdout: guard(stdout), stderr: guard(stderr) };
  }
  const dir = textOf(inputs["dir"]);
  const { stdout, stderr } = await runLocal({ ...run, dir, interpreter: textsOf(inputs["interpreter"]) });
  const outputs: Properties = { stdout: guard(stdout), stderr: guard(stderr) };
  const assetPaths = textsOf(inputs["assetPaths"]);
  const archivePaths = textsOf(inputs["archivePaths"]);
  if (assetPaths !== undefined) outputs["assets"] = await collectAssets(dir ?? process.cwd(), assetPaths);
  if (archivePaths !== undefined) outputs["archive"] = await collectArchive(dir ?? process.cwd(), archivePaths);
  return outputs;
}

function connectionOf(inputs: Properties): Connection {
  const parsed = connectionSchema.safeParse(plainOf(inputs["connection"]));
  if (parsed.success) return parsed.data;
  throw new Error(`connection: ${z.prettifyError(parsed.error)}`);
}

function textOf(value: Value | undefined): string | undefined {
  const plain = plainOf(value);
  return typeof plain === "string" ? plain : undefined;
}

function textsOf(value: Value | undefined): string[] | undefined {
  const parsed = z.array(z.string()).safeParse(plainOf(value));
  return parsed.success ? parsed.data : undefined;
}

/** Shorter texts are no secrets worth the name, and masking them would garble everything. */
const SHORTEST_SECRET = 8;
const CREDENTIALS = new Set(["privateKey", "privateKeyPassword", "password"]);

/** Every text that must not be shown: what is marked secret, and the connection's credentials. Longest first. */
function secretTexts(inputs: Properties): string[] {
  const found = new Set<string>();
  const add = (text: string): void => {
    for (const part of [text, ...text.split("\n")]) {
      const trimmed = part.trim();
      if (trimmed.length >= SHORTEST_SECRET) found.add(trimmed);
    }
  };
  const visit = (value: Value, secret: boolean): void => {
    if (value instanceof Secret) visit(value.value, true);
    else if (typeof value === "string" && secret) add(value);
    else if (Array.isArray(value)) for (const item of value) visit(item, secret);
    else if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
      for (const item of Object.values(value)) visit(item as Value, secret);
    }
  };
  for (const [key, value] of Object.entries(inputs)) {
    // The whole connection is marked secret, its host and user with it; only its credentials are.
    if (key === "connection") visitCredentials(plainOf(value), add);
    else visit(value, false);
  }
  return [...found].sort((left, right) => right.length - left.length);
}

function visitCredentials(connection: ReturnType<typeof plainOf>, add: (text: string) => void): void {
  if (typeof connection !== "object" || connection === null || Array.isArray(connection)) return;
  for (const [key, value] of Object.entries(connection)) {
    if (typeof value === "string" && CREDENTIALS.has(key)) add(value);
    else if (key === "proxy") visitCredentials(value, add);
  }
}
