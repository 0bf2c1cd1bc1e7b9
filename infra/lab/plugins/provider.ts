/**
 * A resource as the Pulumi engine hands it over where an input refers to another resource. `id` is absent for
 * components and for resources whose id is not known yet.
 */
export class ResourceReference {
  readonly urn: string;
  readonly id: string | Unknown | undefined;
  constructor(urn: string, id?: string | Unknown) {
    this.urn = urn;
    this.id = id;
  }
}

/** The type of {@link UNKNOWN}; there is only one value of it. */
export class Unknown {
  readonly kind = "unknown";
}

/** A value that is only known after `up`: seen in previews, and never in create, update or delete outside one. */
export const UNKNOWN = new Unknown();

/** A value that is encrypted in the state and masked in every output. Its content must never reach a message or log. */
export class Secret {
  readonly value: Value;
  constructor(value: Value) {
    this.value = value;
  }
}

/** A Pulumi asset (one file) or archive (many). Just one of `text`, `path`, `uri` and `members` is present. */
export class AssetValue {
  readonly kind: "asset" | "archive";
  /** SHA-256 of the content in hex, as the engine computed it; absent when it has not. */
  readonly hash: string | undefined;
  readonly text: string | undefined;
  readonly path: string | undefined;
  readonly uri: string | undefined;
  /** Members of an archive by their path in it. */
  readonly members: Record<string, Value> | undefined;
  constructor(
    kind: "asset" | "archive",
    content: { hash?: string; text?: string; path?: string; uri?: string; members?: Record<string, Value> },
  ) {
    this.kind = kind;
    this.hash = content.hash;
    this.text = content.text;
    this.path = content.path;
    this.uri = content.uri;
    this.members = content.members;
  }
}

/** What travels between engine and plugin: plain JSON, and the wrappers for what JSON cannot say. */
export type Value =
  | null
  | boolean
  | number
  | string
  | Value[]
  | { [key: string]: Value }
  | Unknown
  | Secret
  | AssetValue
  | ResourceReference;

/** The inputs or outputs of one resource, by property name. */
export type Properties = Record<string, Value>;

/** What happens to one property in an update, in the engine's own words; `-replace` marks those that force a new resource. */
export type PropertyDiffKind = "add" | "add-replace" | "delete" | "delete-replace" | "update" | "update-replace";

/** Whether a resource must change, and how. */
export interface DiffResult {
  changes: boolean;
  /** Top-level properties that force a replacement; empty means an update in place. */
  replaces: string[];
  /** By property path (`disks[0].size`); absent leaves the display to the engine. */
  detailed?: Record<string, PropertyDiffKind>;
  /** True when the old one must be gone before the new one is made (same VM id, same file). False when absent. */
  deleteBeforeReplace?: boolean;
}

/** One input that was refused: what it is called and why. `reason` must not quote a secret. */
export interface CheckFailure {
  property: string;
  reason: string;
}

/** Severity of a line in the engine's output. */
export type LogLevel = "debug" | "info" | "warning" | "error";

/**
 * Writes a line for the user, tied to the resource. An ephemeral one only shows while the operation runs; others are
 * kept in the summary. Never give it a secret.
 */
export type Log = (level: LogLevel, text: string, options?: { ephemeral?: boolean }) => void;

/** What every call on one resource carries. */
export interface ResourceCall {
  urn: string;
  /** Type token, such as `command:remote:Command`. */
  type: string;
  /** Logical name. */
  name: string;
}

/** What create, read, update and delete may use while they run. */
export interface RunningCall extends ResourceCall {
  /** The user's custom timeout; 0 when there is none, and then the plugin's own default applies. */
  timeoutMs: number;
  /** Aborts on the user's interrupt, on the timeout above, and when the engine has gone. */
  signal: AbortSignal;
  log: Log;
}

/** The rules for names that the plugin makes up, as `pulumi:autonaming` sets them. */
export interface Autonaming {
  proposedName: string;
  mode: "propose" | "enforce" | "disable";
}

export interface CheckCall extends ResourceCall {
  olds?: Properties;
  news: Properties;
  /** Stable over preview and up of one run; seed for made-up names. Empty when the engine sends none. */
  randomSeed: Uint8Array;
  autonaming?: Autonaming;
}

export interface DiffCall extends ResourceCall {
  id: string;
  olds: Properties;
  oldInputs: Properties;
  news: Properties;
  ignoreChanges: string[];
}

export interface CreateCall extends RunningCall {
  inputs: Properties;
  /** In a preview nothing may be touched; outputs that are not known are {@link UNKNOWN}. */
  preview: boolean;
}

export interface ReadCall extends RunningCall {
  id: string;
  /** Absent when the resource is being imported. */
  inputs?: Properties;
  properties?: Properties;
}

export interface UpdateCall extends RunningCall {
  id: string;
  olds: Properties;
  oldInputs: Properties;
  news: Properties;
  ignoreChanges: string[];
  preview: boolean;
}

export interface DeleteCall extends RunningCall {
  id: string;
  properties: Properties;
  inputs: Properties;
}

export interface InvokeCall {
  token: string;
  args: Properties;
  preview: boolean;
  signal: AbortSignal;
}

/**
 * One Pulumi provider. `serveProvider` speaks the engine's protocol for it. Errors that its methods throw reach the
 * user by their message; {@link PartialFailure} says that the resource exists all the same.
 */
export interface ProviderPlugin {
  /** Package name, such as `kubernetes`. */
  readonly name: string;
  /** Version that the SDK asks for, without `v`. */
  readonly version: string;
  /** False makes the engine strip secrets before it calls; outputs are then marked by the engine alone. */
  readonly acceptsSecrets: boolean;
  /** Provider settings that are no strings: the SDKs send these as JSON text, and the server decodes them. */
  readonly jsonConfigKeys?: readonly string[];
  configure(config: Properties, info: { preview?: boolean }): Promise<void>;
  /** Absent accepts every setting. */
  checkConfig?(news: Properties): Promise<{ inputs: Properties; failures: CheckFailure[] }>;
  /** Absent means that no setting ever replaces the provider. */
  diffConfig?(olds: Properties, news: Properties): Promise<DiffResult>;
  check(call: CheckCall): Promise<{ inputs: Properties; failures: CheckFailure[] }>;
  diff(call: DiffCall): Promise<DiffResult>;
  create(call: CreateCall): Promise<{ id: string; properties: Properties }>;
  /** Undefined means that the resource is gone. */
  read(call: ReadCall): Promise<{ id: string; inputs: Properties; properties: Properties } | undefined>;
  update(call: UpdateCall): Promise<{ properties: Properties }>;
  delete(call: DeleteCall): Promise<void>;
  /** Absent refuses every function by its token. */
  invoke?(call: InvokeCall): Promise<{ properties?: Properties; failures?: CheckFailure[] }>;
  /** Called once on the user's interrupt, after every running call's signal was aborted. */
  cancel?(): void;
}

/**
 * The resource was made or changed but is not in order (a Deployment that never got ready). The engine keeps `id` and
 * `properties` in the state, marks the operation as failed and calls update the next time.
 */
export class PartialFailure extends Error {
  readonly id: string;
  readonly properties: Properties;
  /** One line for each thing that is wrong; shown to the user below the message. */
  readonly reasons: string[];
  /** What the state shall hold as inputs; absent keeps those of the call. */
  readonly inputs: Properties | undefined;
  constructor(
    message: string,
    detail: { id: string; properties: Properties; reasons: string[]; inputs?: Properties; cause?: unknown },
  ) {
    super(message, { cause: detail.cause });
    this.name = "PartialFailure";
    this.id = detail.id;
    this.properties = detail.properties;
    this.reasons = detail.reasons;
    this.inputs = detail.inputs;
  }
}
