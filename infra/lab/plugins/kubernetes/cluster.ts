import { ApiServer } from "./api-server.ts";
import type { Patience } from "./api-server.ts";
import { UnreachableError } from "./api-error.ts";
import { Kinds, knownScope } from "./kinds.ts";
import type { GroupVersionKind } from "./manifest.ts";
import { Objects } from "./objects.ts";
import type { KubernetesSettings } from "./settings.ts";

/** How long a preview asks for a cluster before it goes on without one. */
const PREVIEW_BUDGET_MS = 2_000;
/** How long a real operation waits for a server that is starting. */
const OPERATION_BUDGET_MS = 60_000;
/** A preview that found no cluster does not ask again within this time. */
const ABSENCE_HOLDS_MS = 15_000;

/** The cluster that a provider is set to, reachable or not. */
export class Cluster {
  readonly settings: KubernetesSettings;
  /** Undefined when the kubeconfig names no cluster. */
  readonly #objects: Objects | undefined;
  readonly #api: ApiServer | undefined;
  readonly #reason: string;
  /** Scopes of kinds whose definition the program is about to make, by `group/Kind`. */
  readonly plannedScopes = new Map<string, boolean>();
  #absentAtMs = -Infinity;
  #isReached = false;

  private constructor(settings: KubernetesSettings, api: ApiServer | undefined, reason: string) {
    this.settings = settings;
    this.#api = api;
    this.#objects = api === undefined ? undefined : new Objects(api, new Kinds(api));
    this.#reason = reason;
  }

  /** Reads the kubeconfig and asks nothing of the cluster; never throws, since a preview must do without. */
  static async fromSettings(settings: KubernetesSettings): Promise<Cluster> {
    try {
      return new Cluster(settings, await ApiServer.fromSettings(settings), "");
    } catch (error) {
      return new Cluster(settings, undefined, error instanceof Error ? error.message : "no kubeconfig");
    }
  }

  /** Namespace for objects that name none; undefined when no kubeconfig says so. */
  get defaultNamespace(): string | undefined {
    if (this.#api === undefined) return this.settings.namespace;
    return this.settings.namespace ?? this.#api.contextNamespace ?? "default";
  }

  /** The cluster's objects when it answers at once, else undefined. For previews. */
  async glance(): Promise<Objects | undefined> {
    if (this.#isReached) return this.#objects;
    if (Date.now() - this.#absentAtMs < ABSENCE_HOLDS_MS) return undefined;
    return this.reach({ budgetMs: PREVIEW_BUDGET_MS, signal: AbortSignal.timeout(PREVIEW_BUDGET_MS) }).catch(() => {
      this.#absentAtMs = Date.now();
      return undefined;
    });
  }

  /** The cluster's objects. Waits for a server that is starting. @throws UnreachableError with the reason. */
  async reach(patience: Patience): Promise<Objects> {
    if (this.#api === undefined || this.#objects === undefined) throw new UnreachableError(this.#reason);
    if (!this.#isReached) {
      await this.#api.assertReachable({ budgetMs: OPERATION_BUDGET_MS, ...patience });
      this.#isReached = true;
    }
    return this.#objects;
  }

  /** Whether objects of a kind have a namespace; what cannot be told is taken to have one, as the real provider does. */
  async isNamespaced(kind: GroupVersionKind): Promise<boolean> {
    const known = knownScope(kind, this.plannedScopes);
    if (known !== undefined) return known;
    const mapping = await (await this.glance())?.kinds
      .find(kind, { budgetMs: PREVIEW_BUDGET_MS })
      .catch(() => undefined);
    return mapping?.isNamespaced ?? true;
  }
}
