import { randomBytes } from "node:crypto";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type ConfigMap,
  LocalWorkspace,
  PulumiCommand,
  type PulumiFn,
  type Stack,
} from "@pulumi/pulumi/automation/index.js";
import { parse } from "yaml";
import { z } from "zod";
import { installPlugins } from "../plugins/install.ts";
import { repositoryRoot } from "../tools/paths.ts";

/** Where one use of the engine keeps its things: nothing of it lies in the user's `~/.pulumi`. */
export interface EnginePlaces {
  /** Folder for backend, home, keys and workspace. Made when absent, for its owner only. */
  dir: string;
  /** The `pulumi` program. */
  pulumiPath: string;
  /** CA that Proxmox endpoints are trusted by, PEM file. Absent: the system's. */
  caFile?: string;
}

/** Values that the lab sets beside the stack's committed configuration, by path below `gorkheavy:settings`. */
export type SettingOverrides = Record<string, unknown>;

const StackFile = z.looseObject({ config: z.record(z.string(), z.unknown()).default({}) });
const PROJECT = "gorkheavy";

/**
 * Opens a stack of this project on a backend of its own, with the committed `stacks/config/Pulumi.NAME.yaml`, the
 * overrides and the secrets. The same stack function then runs as with the plain CLI; the lab's plugins stand in.
 */
export async function openStack(options: {
  stackName: string;
  program: PulumiFn;
  places: EnginePlaces;
  overrides: SettingOverrides;
  /** Configuration keys with namespace, stored encrypted. */
  secrets: Record<string, string>;
}): Promise<Stack> {
  const { dir } = options.places;
  const at = (name: string) => join(dir, name);
  for (const name of ["", "bin", "backend", "home", "workspace", "tmp"])
    await mkdir(at(name), { recursive: true, mode: 0o700 });
  await symlink(options.places.pulumiPath, at("bin/pulumi")).catch(ignoreExisting);
  await installPlugins(at("home"), process.execPath);

  const stack = await LocalWorkspace.createOrSelectStack(
    { stackName: options.stackName, projectName: PROJECT, program: options.program },
    {
      workDir: at("workspace"),
      pulumiHome: at("home"),
      pulumiCommand: await PulumiCommand.get({ root: dir }),
      secretsProvider: "passphrase",
      projectSettings: { name: PROJECT, runtime: "nodejs", backend: { url: `file://${at("backend")}` } },
      envVars: {
        PULUMI_CONFIG_PASSPHRASE: await passphrase(at("passphrase")),
        PULUMI_SKIP_UPDATE_CHECK: "true",
        PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
        PULUMI_EXPERIMENTAL: "",
        TMPDIR: at("tmp"),
        HOME: at("home"),
        KUBECONFIG: "",
        ...(options.places.caFile
          ? { SSL_CERT_FILE: options.places.caFile, NODE_EXTRA_CA_CERTS: options.places.caFile }
          : {}),
      },
    },
  );
  await stack.setAllConfig(await configOf(options.stackName, options.overrides, options.secrets));
  return stack;
}

/** The committed configuration of a stack with overrides applied. Exported for tests. */
export async function configOf(
  stackName: string,
  overrides: SettingOverrides,
  secrets: Record<string, string>,
): Promise<ConfigMap> {
  const text = await readFile(join(repositoryRoot, "stacks", "config", `Pulumi.${stackName}.yaml`), "utf8");
  const { config } = StackFile.parse(parse(text));
  const map: ConfigMap = {};
  for (const [key, value] of Object.entries(config)) {
    const whole = key === "gorkheavy:settings" ? withOverrides(value, overrides) : value;
    map[key] = { value: typeof whole === "string" ? whole : JSON.stringify(whole) };
  }
  for (const [key, value] of Object.entries(secrets)) map[key] = { value, secret: true };
  return map;
}

/** A copy of `settings` with the values at dotted paths replaced (null removes), e.g. `{ "k3s.sha256": "…" }`. Numbers index lists. */
export function withOverrides(settings: unknown, overrides: SettingOverrides): unknown {
  const copy: unknown = structuredClone(settings);
  for (const [path, value] of Object.entries(overrides)) {
    const steps = path.split(".");
    const last = steps.pop() ?? "";
    let place: unknown = copy;
    for (const step of steps) {
      if (!isContainer(place)) throw new Error(`setting ${path}: ${step} is not inside an object or list`);
      const next: unknown = Reflect.get(place, step) ?? {};
      Reflect.set(place, step, next);
      place = next;
    }
    if (!isContainer(place)) throw new Error(`setting ${path}: its parent is not an object or list`);
    if (value === null) {
      if (Array.isArray(place)) place.splice(Number(last), 1);
      else Reflect.deleteProperty(place, last);
    } else Reflect.set(place, last, value);
  }
  return copy;
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** The passphrase of the stack's secrets: made once, kept for the owner only. */
async function passphrase(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    await mkdir(dirname(file), { recursive: true });
    const made = randomBytes(24).toString("base64url");
    await writeFile(file, made, { mode: 0o600, flag: "wx" });
    return made;
  }
}

function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
}
