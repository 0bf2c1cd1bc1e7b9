import { setTimeout as pause } from "node:timers/promises";
import type { KubeConfig } from "@kubernetes/client-node";
import { request as httpRequest } from "undici";
import type { Dispatcher } from "undici";
import { ApiError, UnreachableError } from "./api-error.ts";
import { isJsonObject } from "./manifest.ts";
import type { Json, JsonObject } from "./manifest.ts";
import { plain } from "./settings.ts";
import type { KubernetesSettings } from "./settings.ts";
import type { Properties } from "../provider.ts";

/** How long one request may take. The API server itself gives up on a request after 60 s. */
const REQUEST_TIMEOUT_MS = 65_000;
/** Credentials from exec plugins and token files are read again after this long. */
const CREDENTIALS_MAX_AGE_MS = 60_000;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 4_000;

/** Whoever asks: when to give up. */
export interface Patience {
  signal?: AbortSignal;
  /** How long to keep trying while the server is away or says "later". @default 90000 */
  budgetMs?: number;
}

/** One request to the API server. */
export interface ApiRequest extends Patience {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path from the root, without query. */
  path: string;
  query?: Record<string, string>;
  body?: Json;
  /** @default application/json */
  contentType?: string;
}

interface Credentials {
  headers: Record<string, string>;
  dispatcher: Dispatcher | undefined;
  readAtMs: number;
}

/** One cluster's API over HTTP: authentication by kubeconfig, JSON, retries while the server is away. */
export class ApiServer {
  /** Namespace that the kubeconfig's context names; undefined when it names none. */
  readonly contextNamespace: string | undefined;
  readonly #kubeConfig: KubeConfig;
  readonly #url: string;
  #credentials: Credentials | undefined;

  private constructor(kubeConfig: KubeConfig, url: string) {
    this.#kubeConfig = kubeConfig;
    this.#url = url.replace(/\/$/, "");
    this.contextNamespace = kubeConfig.getContextObject(kubeConfig.getCurrentContext())?.namespace;
  }

  /**
   * Reads the kubeconfig; asks nothing of the cluster.
   * @throws UnreachableError when there is none or it names no cluster. The message never quotes it.
   */
  static async fromSettings(settings: KubernetesSettings): Promise<ApiServer> {
    if (settings.kubeconfig === undefined) {
      throw new UnreachableError(
        "kubernetes:kubeconfig: none given; give the provider a kubeconfig (the lab's stand-in never reads ~/.kube or KUBECONFIG)",
      );
    }
    const kubeConfig = await loadKubeConfig(settings.kubeconfig, settings.context, settings.cluster);
    const cluster = kubeConfig?.getCurrentCluster();
    if (kubeConfig === undefined || !cluster) {
      throw new UnreachableError(
        "kubernetes:kubeconfig: this is no kubeconfig with a cluster for its context; check its contexts and clusters",
      );
    }
    return new ApiServer(kubeConfig, cluster.server);
  }

  /** Asks for the version. @throws UnreachableError when the server did not answer within the budget. */
  async assertReachable(patience: Patience): Promise<void> {
    await this.call({ ...patience, method: "GET", path: "/version" }).catch((error: unknown) => {
      // Somebody who may not ask for the version has reached the server all the same.
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
    });
  }

  /** The JSON object that the server answers with. @throws ApiError as the server refuses; UnreachableError. */
  async call(request: ApiRequest): Promise<JsonObject> {
    const startedMs = Date.now();
    const budgetMs = request.budgetMs ?? 90_000;
    for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)) {
      request.signal?.throwIfAborted();
      const failure = await this.#once(request).catch((error: unknown) => toFailure(error));
      if (!(failure instanceof Failure)) return failure;
      request.signal?.throwIfAborted();
      const isTooLate = Date.now() - startedMs + backoffMs > budgetMs;
      if (!failure.isWorthRetrying || isTooLate) throw failure.error;
      await pause(backoffMs, undefined, request.signal === undefined ? {} : { signal: request.signal });
    }
  }

  async #once(request: ApiRequest): Promise<JsonObject> {
    const credentials = await this.#authenticate();
    const query = request.query === undefined ? "" : `?${new URLSearchParams(request.query).toString()}`;
    // Abort comes from the user or the clock; either ends the request.
    const signals = [
      AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(request.signal === undefined ? [] : [request.signal]),
    ];
    const answer = await httpRequest(`${this.#url}${request.path}${query}`, {
      method: request.method,
      headers: {
        accept: "application/json",
        "user-agent": "gorkheavy-lab-kubernetes",
        ...(request.body === undefined ? {} : { "content-type": request.contentType ?? "application/json" }),
        ...credentials.headers,
      },
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal: AbortSignal.any(signals),
      ...(credentials.dispatcher === undefined ? {} : { dispatcher: credentials.dispatcher }),
    });
    const text = await answer.body.text();
    const body = parseJson(text);
    if (answer.statusCode >= 400) {
      // Whoever asks next reads the credentials anew.
      if (answer.statusCode === 401) this.#credentials = undefined;
      throw new ApiError(answer.statusCode, body, `${request.method} ${request.path}`);
    }
    if (!isJsonObject(body))
      throw new UnreachableError(`${request.method} ${request.path}: the answer is no JSON object`);
    return body;
  }

  async #authenticate(): Promise<Credentials> {
    if (this.#credentials !== undefined && Date.now() - this.#credentials.readAtMs < CREDENTIALS_MAX_AGE_MS) {
      return this.#credentials;
    }
    const { HttpMethod, RequestContext } = await import("@kubernetes/client-node");
    const context = new RequestContext(`${this.#url}/`, HttpMethod.GET);
    await this.#kubeConfig.applySecurityAuthentication(context);
    this.#credentials = {
      headers: context.getHeaders(),
      dispatcher: context.getDispatcher(),
      readAtMs: Date.now(),
    };
    return this.#credentials;
  }
}

/** The active cluster's entry of a provider's kubeconfig as comparable text; undefined when there is none. */
export async function activeClusterOf(
  config: Properties,
  contents: (kubeconfig: string) => string,
): Promise<string | undefined> {
  const text = (key: string): string | undefined => {
    const value = plain(config[key] ?? null);
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const kubeconfig = text("kubeconfig");
  if (kubeconfig === undefined) return undefined;
  const cluster = (await loadKubeConfig(contents(kubeconfig), text("context"), text("cluster")))?.getCurrentCluster();
  return cluster ? JSON.stringify(cluster) : undefined;
}

async function loadKubeConfig(
  contents: string,
  context: string | undefined,
  cluster: string | undefined,
): Promise<KubeConfig | undefined> {
  // Loaded late: it takes half a second, and the engine starts this plugin for its schema alone, too.
  const { KubeConfig } = await import("@kubernetes/client-node");
  const kubeConfig = new KubeConfig();
  try {
    kubeConfig.loadFromString(contents);
  } catch {
    // The parser's message quotes the text, and the text holds keys.
    return undefined;
  }
  if (context !== undefined) kubeConfig.setCurrentContext(context);
  const current = kubeConfig.getContextObject(kubeConfig.getCurrentContext());
  if (current === null || cluster === undefined) return kubeConfig;
  kubeConfig.contexts = kubeConfig.contexts.map((entry) =>
    entry.name === current.name ? { ...entry, cluster } : entry,
  );
  return kubeConfig;
}

/** Why one attempt failed, and whether the next may not. */
class Failure {
  readonly error: Error;
  readonly isWorthRetrying: boolean;
  constructor(error: Error, isWorthRetrying: boolean) {
    this.error = error;
    this.isWorthRetrying = isWorthRetrying;
  }
}

/** Answers that mean "later": overload, a server or etcd that is just starting, a webhook without endpoints yet. */
const LATER = new Set([429, 500, 502, 503, 504]);
/** Transport errors that a restart of the server explains; a wrong certificate is none of them. */
const TRANSPORT_CODES =
  /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT|CLOSED|DESTROYED))/;

function toFailure(error: unknown): Failure {
  if (error instanceof ApiError) return new Failure(error, LATER.has(error.status));
  if (error instanceof UnreachableError) return new Failure(error, true);
  if (!(error instanceof Error)) return new Failure(new UnreachableError(String(error)), false);
  if (error.name === "AbortError") return new Failure(error, false);
  if (error.name === "TimeoutError")
    return new Failure(new UnreachableError("the API server did not answer in time", error), true);
  const code = codeOf(error);
  const reason = code === "" ? error.message : `${code}: ${error.message}`;
  return new Failure(new UnreachableError(reason, error), TRANSPORT_CODES.test(code));
}

function codeOf(error: Error): string {
  if ("code" in error && typeof error.code === "string") return error.code;
  return error.cause instanceof Error ? codeOf(error.cause) : "";
}

function parseJson(text: string): Json | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return isJson(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Whatever JSON.parse gives is JSON; the type only says so. What is in it is looked at where it is used. */
function isJson(parsed: unknown): parsed is Json {
  return parsed !== undefined;
}
