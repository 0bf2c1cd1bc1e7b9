import type {
  CheckCall,
  CheckFailure,
  CreateCall,
  DeleteCall,
  DiffCall,
  DiffResult,
  Properties,
  ProviderPlugin,
  ReadCall,
  ResourceCall,
  UpdateCall,
} from "../provider.ts";
import { PartialFailure } from "../provider.ts";
import { activeClusterOf } from "./api-server.ts";
import { NotReadyError } from "./await/index.ts";
import { checkResource } from "./check.ts";
import { Cluster } from "./cluster.ts";
import { createObject, deleteObject, readObject, updateObject } from "./lifecycle.ts";
import type { Outcome } from "./lifecycle.ts";
import { diffObject } from "./diff-object.ts";
import { secretTexts } from "./manifest.ts";
import { BOOLEAN_SETTINGS, diffSettings, kubeconfigContents, readSettings, settingFailures } from "./settings.ts";

/** Shorter secrets would black out half of a message and are no secrets. */
const MIN_REDACTED_LENGTH = 4;

/**
 * The lab's stand-in for the Kubernetes provider: any kind of the cluster's API by server-side apply, with the real
 * provider's names, diffs, replacements and waits. It has no Helm releases and renders no YAML.
 */
export class KubernetesPlugin implements ProviderPlugin {
  readonly name = "kubernetes";
  readonly version: string;
  readonly acceptsSecrets = true;
  readonly jsonConfigKeys = [...BOOLEAN_SETTINGS, "helmReleaseSettings", "kubeClientSettings"];
  #cluster: Cluster | undefined;

  /** `version` is that of the SDK, without `v`. */
  constructor(version: string) {
    this.version = version;
  }

  async configure(config: Properties): Promise<void> {
    this.#cluster = await Cluster.fromSettings(readSettings(config));
  }

  async checkConfig(news: Properties): Promise<{ inputs: Properties; failures: CheckFailure[] }> {
    return { inputs: news, failures: settingFailures(news) };
  }

  async diffConfig(olds: Properties, news: Properties): Promise<DiffResult> {
    return diffSettings(olds, news, (config) => activeClusterOf(config, kubeconfigContents));
  }

  async check(call: CheckCall): Promise<{ inputs: Properties; failures: CheckFailure[] }> {
    return guarded(call, [call.news], () => checkResource(this.#configured, call));
  }

  async diff(call: DiffCall): Promise<DiffResult> {
    return guarded(call, [call.olds, call.news], () => diffObject(this.#configured, call));
  }

  async create(call: CreateCall): Promise<{ id: string; properties: Properties }> {
    return guarded(call, [call.inputs], async () => settled(await createObject(this.#configured, call)));
  }

  async read(call: ReadCall): Promise<{ id: string; inputs: Properties; properties: Properties } | undefined> {
    return guarded(call, [call.inputs ?? {}, call.properties ?? {}], async () => {
      const outcome = await readObject(this.#configured, call);
      return outcome === undefined ? undefined : settled(outcome);
    });
  }

  async update(call: UpdateCall): Promise<{ properties: Properties }> {
    return guarded(call, [call.olds, call.news], async () => settled(await updateObject(this.#configured, call)));
  }

  async delete(call: DeleteCall): Promise<void> {
    return guarded(call, [call.properties, call.inputs], () => deleteObject(this.#configured, call));
  }

  get #configured(): Cluster {
    if (this.#cluster === undefined) throw new Error("kubernetes: the provider was asked before it was configured");
    return this.#cluster;
  }
}

/** The outcome as the engine wants it. @throws PartialFailure when the object exists but is not in order. */
function settled(outcome: Outcome): { id: string; inputs: Properties; properties: Properties } {
  const { id, inputs, properties, fault } = outcome;
  if (fault !== undefined) {
    throw new PartialFailure(fault.message, {
      id,
      inputs,
      properties,
      reasons: [fault.message, ...fault.reasons],
      cause: fault,
    });
  }
  return { id, inputs, properties };
}

/** Runs one call and takes the secrets of its properties out of whatever message it fails with. */
async function guarded<T>(call: ResourceCall, bags: readonly Properties[], run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const secrets = bags.flatMap((bag) => secretTexts(bag)).filter((text) => text.length >= MIN_REDACTED_LENGTH);
    // Longest first, so that one secret within another does not leave half of it.
    secrets.sort((left, right) => right.length - left.length);
    const redact = (text: string) => secrets.reduce((done, secret) => done.replaceAll(secret, "[secret]"), text);
    if (error instanceof PartialFailure) {
      const { id, properties, inputs, reasons } = error;
      throw new PartialFailure(redact(error.message), { id, properties, inputs, reasons: reasons.map(redact) });
    }
    if (error instanceof NotReadyError) throw new Error(redact([error.message, ...error.reasons].join("; ")));
    throw new Error(redact(error instanceof Error ? error.message : `${call.type}: failed without a reason`));
  }
}
