import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isJsonObject } from "../../../../infra/lab/plugins/kubernetes/manifest.ts";
import type { Json, JsonObject } from "../../../../infra/lab/plugins/kubernetes/manifest.ts";

/** Kinds that the double serves, by path of their group and version. */
const RESOURCES: Record<string, { name: string; kind: string; namespaced: boolean }[]> = {
  "/api/v1": [
    { name: "namespaces", kind: "Namespace", namespaced: false },
    { name: "configmaps", kind: "ConfigMap", namespaced: true },
    { name: "secrets", kind: "Secret", namespaced: true },
    { name: "services", kind: "Service", namespaced: true },
    { name: "endpoints", kind: "Endpoints", namespaced: true },
    { name: "pods", kind: "Pod", namespaced: true },
    { name: "events", kind: "Event", namespaced: true },
  ],
  "/apis/apps/v1": [
    { name: "deployments", kind: "Deployment", namespaced: true },
    { name: "replicasets", kind: "ReplicaSet", namespaced: true },
  ],
};

/** One request that the double got. */
export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
}

/**
 * Enough of a Kubernetes API for the plugin: discovery, get, list, server-side apply (whole objects), JSON patch of
 * `managedFields`, delete. The test puts objects into `objects` (by path) and may refuse requests by `refuse`.
 */
export class ApiDouble {
  readonly objects = new Map<string, JsonObject>();
  readonly seen: SeenRequest[] = [];
  /** A refusal for a request, undefined to let it through. */
  refuse: (request: SeenRequest) => { status: number; reason: string; message: string } | undefined = () => undefined;
  /** What a controller would add to an object that was just applied. */
  settle: (object: JsonObject) => JsonObject = (object) => object;
  #server: Server | undefined;
  #counter = 0;

  async listen(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise<void>((resolve) => void this.#server?.close(() => resolve()));
  }

  get kubeconfig(): string {
    const address = this.#server?.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    return kubeconfigFor(port);
  }

  /** Requests of a method, as paths. */
  paths(method: string): string[] {
    return this.seen.filter((request) => request.method === method).map((request) => request.path);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://api");
    const seen = { method: request.method ?? "GET", path: url.pathname, query: url.searchParams };
    this.seen.push(seen);
    const chunks: string[] = [];
    for await (const chunk of request) chunks.push(String(chunk));
    const body: Json = chunks.length === 0 ? null : parse(chunks.join(""));
    const refusal = this.refuse(seen);
    const [status, answer] =
      refusal === undefined
        ? this.#serve(seen, body)
        : [refusal.status, { kind: "Status", ...refusal, code: refusal.status }];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }

  #serve(request: SeenRequest, body: Json): [status: number, answer: Json] {
    const { path } = request;
    if (path === "/version") return [200, { major: "1", minor: "34" }];
    const resources = RESOURCES[path];
    if (resources !== undefined) return [200, { kind: "APIResourceList", resources }];
    const existing = this.objects.get(path);
    if (request.method === "PATCH") return this.#patch(request, isJsonObject(body) ? body : undefined, existing);
    if (request.method === "DELETE") this.objects.delete(path);
    if (existing !== undefined) return [200, existing];
    const isCollection = Object.values(RESOURCES)
      .flat()
      .some(({ name }) => path.endsWith(`/${name}`));
    if (!isCollection) return [404, { kind: "Status", reason: "NotFound", message: `${path} not found`, code: 404 }];
    const items = [...this.objects].filter(([key]) => key.startsWith(`${path}/`)).map(([, object]) => object);
    return [200, { kind: "List", items }];
  }

  #patch(request: SeenRequest, body: JsonObject | undefined, existing: JsonObject | undefined): [number, Json] {
    // A JSON patch comes as an array and only moves managed fields here.
    if (body === undefined) return [200, existing ?? null];
    this.#counter += 1;
    const metadata = isJsonObject(body["metadata"]) ? body["metadata"] : {};
    const before = isJsonObject(existing?.["metadata"]) ? existing["metadata"] : {};
    const applied: JsonObject = this.settle({
      ...existing,
      ...body,
      metadata: {
        uid: `uid-${this.#counter}`,
        generation: 1,
        ...before,
        ...metadata,
        resourceVersion: String(this.#counter),
        managedFields: [{ manager: request.query.get("fieldManager") ?? "", operation: "Apply", fieldsV1: {} }],
      },
    });
    if (request.query.get("dryRun") !== "All") this.objects.set(request.path, applied);
    return [200, applied];
  }
}

/** A kubeconfig for an API on a port of 127.0.0.1. */
export function kubeconfigFor(port: number): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "c", // The client refuses plain HTTP without this word.
        cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true },
      },
    ],
    users: [{ name: "u", user: { token: "kubeconfig-token-canary" } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
}

function parse(text: string): Json {
  const parsed: unknown = JSON.parse(text);
  return Array.isArray(parsed) ? [] : isObject(parsed) ? parsed : null;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null;
}
