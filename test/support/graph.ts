/**
 * Records what a Pulumi program registers, without an engine.
 *
 * `const graph = await startGraph({ "proxmoxve:index/vmLegacy:VmLegacy": () => ({ id: "201" }) })`, then build
 * components, `await graph.settle()`, then look. A custom resource whose type nobody stubbed, or a call nobody
 * stubbed, is a problem that every later look at the graph throws.
 */
import * as pulumi from "@pulumi/pulumi";
import { specialResourceSig, specialSecretSig, specialSigKey, unknownValue } from "@pulumi/pulumi/runtime/rpc.js";
import type {
  ReadResourceRequest,
  RegisterResourceOutputsRequest,
  RegisterResourceRequest,
  ResourceInvokeRequest,
} from "@pulumi/pulumi/proto/resource_pb.js";

/** Stands where a value is not known yet (preview). */
export const UNKNOWN: unique symbol = Symbol("unknown at preview");

/** One resource, as the engine would be asked for it. */
export interface Registration {
  type: string;
  name: string;
  urn: string;
  /** URN of the parent; empty when the resource hangs under the stack itself. */
  parentUrn: string;
  /** `urn::id` of the provider asked for by name; empty when the default one would be taken. */
  provider: string;
  /** False for components. */
  custom: boolean;
  /** Inputs with secrets unwrapped and {@link UNKNOWN} for what is not known. */
  inputs: Record<string, unknown>;
  /** Dotted paths of the inputs that are secret, `connection.privateKey`. */
  secrets: string[];
  /** Dotted paths of the inputs that are unknown. */
  unknowns: string[];
  /** JSON of the inputs as they travel, each secret blanked: what a state file holds in plain text. */
  plain: string;
  options: {
    protect: boolean;
    retainOnDelete: boolean;
    deleteBeforeReplace: boolean;
    ignoreChanges: string[];
    replaceOnChanges: string[];
    additionalSecretOutputs: string[];
    dependsOn: string[];
    deletedWith: string;
    customTimeouts: { create: string; update: string; delete: string };
  };
}

/** What a stub says the provider answered: outputs beside the inputs, which are always echoed. */
export interface StubResult {
  /** Absent: `<name>_id`. */
  id?: string;
  outputs?: Record<string, unknown>;
}

/** Resource type (or call token) to answer. */
export type Stubs = Record<string, (resource: Registration) => StubResult>;
/** Call token to answer. A stub that throws is a provider that fails. */
export type Calls = Record<string, (inputs: Record<string, unknown>) => Record<string, unknown>>;

/** Settings of one recorded run. */
export interface GraphOptions {
  /** Runs as `pulumi preview` of something that does not exist: no ids, no outputs. @default false */
  preview?: boolean;
  /** @default "gorkheavy" */
  project?: string;
  /** @default "test" */
  stack?: string;
  /** Provider functions that may be called. @default - none */
  calls?: Calls;
  /** Stack configuration, `project:key` to text. @default - none */
  config?: Record<string, string>;
}

/** What one program registered. */
export class RecordedGraph {
  readonly #registrations: Registration[] = [];
  readonly #outputs = new Map<string, { inputs: Record<string, unknown>; secrets: string[]; plain: string }>();
  readonly #problems: Error[] = [];

  /** Notes a registration; called by the monitor. */
  record(registration: Registration): void {
    const twin = this.#registrations.find((r) => r.urn === registration.urn);
    if (twin !== undefined) this.fail(new Error(`${registration.type} "${registration.name}" is registered twice`));
    this.#registrations.push(registration);
  }

  /** Notes what a component handed to `registerOutputs`; called by the monitor. */
  recordOutputs(urn: string, outputs: { inputs: Record<string, unknown>; secrets: string[]; plain: string }): void {
    this.#outputs.set(urn, outputs);
  }

  /** Notes a problem; every later look throws it. */
  fail(problem: Error): void {
    this.#problems.push(problem);
  }

  #check(): void {
    const [first] = this.#problems;
    if (first !== undefined) throw first;
  }

  /** Waits until everything asked for is registered. @throws the first problem, for one an unstubbed type. */
  async settle(): Promise<void> {
    await pulumi.runtime.disconnect();
    this.#check();
  }

  /** All registrations, in the order in which they came. */
  get all(): readonly Registration[] {
    this.#check();
    return this.#registrations;
  }

  /** Registrations of one type. */
  ofType(type: string): Registration[] {
    return this.all.filter((r) => r.type === type);
  }

  /** The one registration with this name (and type, when several types share it). @throws when there is not just one. */
  named(name: string, type?: string): Registration {
    const found = this.all.filter((r) => r.name === name && (type === undefined || r.type === type));
    const [only] = found;
    if (only === undefined || found.length > 1) {
      const names = this.all.map((r) => `${r.name} (${r.type})`).join(", ");
      throw new Error(`${found.length} resources named "${name}", want one; there are: ${names}`);
    }
    return only;
  }

  /** Direct children of a registration. */
  childrenOf(parent: Registration): Registration[] {
    return this.all.filter((r) => r.parentUrn === parent.urn);
  }

  /** What the component of this URN registered as outputs. */
  outputsOf(component: Registration): Record<string, unknown> {
    this.#check();
    return this.#outputs.get(component.urn)?.inputs ?? {};
  }

  /** Dotted paths of a component's outputs that are secret. */
  secretOutputsOf(component: Registration): string[] {
    this.#check();
    return this.#outputs.get(component.urn)?.secrets ?? [];
  }

  /** All that a state file would hold in plain text: names, inputs, outputs. */
  plainText(): string {
    return [...this.all.map((r) => `${r.urn} ${r.plain}`), ...[...this.#outputs.values()].map((o) => o.plain)].join(
      "\n",
    );
  }
}

/** Starts recording; ends with the next call. Call it at the start of each test. */
export async function startGraph(stubs: Stubs, options: GraphOptions = {}): Promise<RecordedGraph> {
  // A test that expects a constructor to throw leaves what was built before it on its way: that ends under its own monitor.
  await pulumi.runtime.disconnect();
  const graph = new RecordedGraph();
  const preview = options.preview ?? false;
  const project = options.project ?? "gorkheavy";
  const stack = options.stack ?? "test";
  const monitor = new RecordingMonitor(graph, stubs, options.calls ?? {}, preview);
  await pulumi.runtime.setMocks(
    { newResource: (r) => ({ id: r.id, state: {} }), call: () => ({}) },
    project,
    stack,
    preview,
    "organization",
  );
  // setMocks also switches the SDK's features on, secrets for one; only its answers are exchanged here, since Mocks
  // themselves are told neither parent nor options.
  Object.assign(pulumi.runtime.getMonitor() ?? {}, {
    registerResource: monitor.registerResource.bind(monitor),
    registerResourceOutputs: monitor.registerResourceOutputs.bind(monitor),
    invoke: monitor.invoke.bind(monitor),
    readResource: monitor.readResource.bind(monitor),
  });
  pulumi.runtime.setAllConfig(options.config ?? {});
  return graph;
}

/** The value of an Output. @throws when it is not known, so that a preview's unknown cannot pass for `undefined`. */
export async function settled<T>(output: pulumi.Output<T>): Promise<T> {
  const { value, known } = await look(output);
  if (!known) throw new Error("this Output is unknown: it cannot be awaited in a preview");
  return value;
}

/** Whether an Output has a value yet; false for what only `up` can tell. */
export async function isKnown(output: pulumi.Output<unknown>): Promise<boolean> {
  return (await look(output)).known;
}

/** Whether an Output is marked secret. */
export async function isSecret(output: pulumi.Output<unknown>): Promise<boolean> {
  return await pulumi.isSecret(output);
}

/** `promise` and `isKnown` are public at run time and left out of the SDK's types. */
interface OutputInside<T> {
  promise(): Promise<T>;
  isKnown: Promise<boolean>;
}

async function look<T>(output: pulumi.Output<T>): Promise<{ value: T; known: boolean }> {
  // The intersection is true of every Output; the SDK strips the two members from its declaration files.
  const inside = output as pulumi.Output<T> & OutputInside<T>;
  return { value: await inside.promise(), known: await inside.isKnown };
}

/**
 * The rules of a good graph; returns what breaks them, so `expect(brokenRules(graph)).toEqual([])`.
 * Each child's name starts with its component's name; each custom resource but a provider has a parent and names its provider;
 * none of `canaries` (secrets put in by the test) is in plain text.
 */
export function brokenRules(graph: RecordedGraph, canaries: readonly string[] = []): string[] {
  const broken: string[] = [];
  for (const r of graph.all) {
    const isProvider = r.type.startsWith("pulumi:providers:");
    const parent = graph.all.find((p) => p.urn === r.parentUrn);
    if (parent === undefined && r.custom && !isProvider) broken.push(`${r.name} (${r.type}) has no parent component`);
    if (parent !== undefined && r.name !== parent.name && !r.name.startsWith(`${parent.name}-`)) {
      broken.push(`${r.name} (${r.type}) does not start with its parent's name, ${parent.name}`);
    }
    if (r.custom && !isProvider && r.provider === "") broken.push(`${r.name} (${r.type}) takes a default provider`);
  }
  const plain = graph.plainText();
  canaries.forEach((canary, index) => {
    if (plain.includes(canary)) broken.push(`secret number ${index + 1} is in plain text`);
  });
  return broken;
}

type Reply<T> = (error: Error | null, reply?: T) => void;

class RecordingMonitor {
  readonly #graph: RecordedGraph;
  readonly #stubs: Stubs;
  readonly #calls: Calls;
  readonly #preview: boolean;

  constructor(graph: RecordedGraph, stubs: Stubs, calls: Calls, preview: boolean) {
    this.#graph = graph;
    this.#stubs = stubs;
    this.#calls = calls;
    this.#preview = preview;
  }

  async registerResource(req: RegisterResourceRequest, reply: Reply<unknown>): Promise<void> {
    const raw = req.getObject()?.toJavaScript() ?? {};
    const registration = registrationOf(req, raw);
    this.#graph.record(registration);
    const answer = this.#answer(registration);
    const state: Record<string, unknown> = { ...raw };
    for (const [key, value] of Object.entries(answer.outputs ?? {})) {
      const secret = registration.options.additionalSecretOutputs.includes(key);
      state[key] = secret ? { [specialSigKey]: specialSecretSig, value: asWire(value) } : asWire(value);
    }
    // A look-alike, not the SDK's message class: a second copy of google-protobuf in one process breaks the SDK's own.
    reply(null, {
      getUrn: () => registration.urn,
      getId: () => answer.id ?? "",
      getObject: () => ({ toJavaScript: () => state }),
      getPropertydependenciesMap: () => undefined,
      getResult: () => 0,
    });
  }

  #answer(r: Registration): StubResult {
    if (!r.custom) return {};
    const stub = this.#stubs[r.type];
    if (r.type.startsWith("pulumi:providers:") && stub === undefined) {
      return this.#preview ? {} : { id: `${r.name}_id` };
    }
    if (stub === undefined) {
      this.#graph.fail(new Error(`no stub for resource type ${r.type} (asked for by "${r.name}")`));
      return {};
    }
    if (this.#preview) return {};
    const answer = stub(r);
    return { id: answer.id ?? `${r.name}_id`, outputs: answer.outputs ?? {} };
  }

  registerResourceOutputs(req: RegisterResourceOutputsRequest, reply: Reply<Record<string, never>>): void {
    this.#graph.recordOutputs(req.getUrn(), decode(req.getOutputs()?.toJavaScript() ?? {}));
    reply(null, {});
  }

  async invoke(req: ResourceInvokeRequest, reply: Reply<unknown>): Promise<void> {
    const call = this.#calls[req.getTok()];
    if (call === undefined) {
      const problem = new Error(`no stub for call ${req.getTok()}`);
      this.#graph.fail(problem);
      reply(problem);
      return;
    }
    const inputs = decode(req.getArgs()?.toJavaScript() ?? {}).inputs;
    let returned: unknown;
    try {
      returned = asWire(call(inputs));
    } catch (error) {
      // What a stub throws is what the provider answered; of a failed call the SDK reads gRPC's `details`.
      const problem = error instanceof Error ? error : new Error(String(error));
      reply(Object.assign(problem, { details: problem.message }));
      return;
    }
    reply(null, { getReturn: () => ({ toJavaScript: () => returned }), getFailuresList: () => [] });
  }

  async readResource(req: ReadResourceRequest, reply: Reply<unknown>): Promise<void> {
    const problem = new Error(`no stub for reading ${req.getType()} "${req.getName()}"`);
    this.#graph.fail(problem);
    reply(problem);
  }
}

function registrationOf(req: RegisterResourceRequest, raw: Record<string, unknown>): Registration {
  const parentUrn = req.getParent();
  const parentType = parentUrn === "" ? "" : `${parentUrn.split("::")[2] ?? ""}$`;
  const timeouts = req.getCustomtimeouts();
  return {
    type: req.getType(),
    name: req.getName(),
    urn: `urn:pulumi:test::gorkheavy::${parentType}${req.getType()}::${req.getName()}`,
    parentUrn,
    provider: req.getProvider(),
    custom: req.getCustom(),
    ...decode(raw),
    options: {
      protect: req.getProtect() ?? false,
      retainOnDelete: req.getRetainondelete() ?? false,
      deleteBeforeReplace: req.getDeletebeforereplace(),
      ignoreChanges: req.getIgnorechangesList(),
      replaceOnChanges: req.getReplaceonchangesList(),
      additionalSecretOutputs: req.getAdditionalsecretoutputsList(),
      dependsOn: req.getDependenciesList(),
      deletedWith: req.getDeletedwith(),
      customTimeouts: {
        create: timeouts?.getCreate() ?? "",
        update: timeouts?.getUpdate() ?? "",
        delete: timeouts?.getDelete() ?? "",
      },
    },
  };
}

/** Takes the engine's wire form apart. */
function decode(raw: Record<string, unknown>): {
  inputs: Record<string, unknown>;
  secrets: string[];
  unknowns: string[];
  plain: string;
} {
  const secrets: string[] = [];
  const unknowns: string[] = [];
  const walk = (value: unknown, path: string): unknown => {
    if (value === unknownValue) {
      unknowns.push(path);
      return UNKNOWN;
    }
    if (Array.isArray(value)) return value.map((v: unknown, i) => walk(v, `${path}.${i}`));
    if (typeof value !== "object" || value === null) return value;
    const entries = new Map<string, unknown>(Object.entries(value));
    if (entries.get(specialSigKey) === specialSecretSig) {
      secrets.push(path);
      return walk(entries.get("value"), path);
    }
    if (entries.get(specialSigKey) === specialResourceSig) return { resource: entries.get("urn") };
    return Object.fromEntries([...entries].map(([k, v]) => [k, walk(v, path === "" ? k : `${path}.${k}`)]));
  };
  const inputs = Object.fromEntries(Object.entries(raw).map(([k, v]) => [k, walk(v, k)]));
  return { inputs, secrets, unknowns, plain: JSON.stringify(blanked(raw)) };
}

function blanked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(blanked);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  if (entries.some(([k, v]) => k === specialSigKey && v === specialSecretSig)) return "[secret]";
  return Object.fromEntries(entries.map(([k, v]) => [k, blanked(v)]));
}

/** A stub's answer in the form that Struct takes: no `undefined`, no prototypes. */
function asWire(value: unknown): unknown {
  const wire: unknown = JSON.parse(JSON.stringify(value ?? null));
  return wire;
}
