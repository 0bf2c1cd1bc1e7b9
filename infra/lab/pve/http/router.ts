import type { Endpoint } from "./endpoint.ts";
import { badParameters } from "../api-error.ts";

/** An endpoint that fits a request, with the parameters that its path carries. */
export interface Match {
  endpoint: Endpoint;
  pathParameters: Record<string, string>;
}

/**
 * Finds endpoints by method and raw path. The path is matched before it is decoded: a volume id's `/` arrives as `%2F`. A trailing slash
 * makes no difference (the provider sends `DELETE …/qemu/100/`).
 */
export class Router {
  readonly #endpoints: readonly (Endpoint & { parts: readonly string[] })[];

  constructor(endpoints: readonly Endpoint[]) {
    this.#endpoints = endpoints.map((one) => ({ ...one, parts: partsOf(one.path) }));
  }

  /** @param path raw path below `/api2/json`, without the query */
  find(method: string, path: string): Match | undefined {
    const parts = partsOf(path);
    for (const endpoint of this.#endpoints) {
      if (endpoint.method !== method || endpoint.parts.length !== parts.length) continue;
      const pathParameters = matchParts(endpoint.parts, parts);
      if (pathParameters !== undefined) return { endpoint, pathParameters };
    }
    return undefined;
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}

function matchParts(wanted: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  const parameters: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const text = given[index] ?? "";
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    if (name === undefined) {
      if (part !== text) return undefined;
      continue;
    }
    try {
      parameters[name] = decodeURIComponent(text);
    } catch {
      return undefined;
    }
  }
  return parameters;
}

/** Path parameters and the others as one. @throws ApiError 400 when a parameter comes twice with two values (PVE::HTTPServer) */
export function mergeParameters(
  path: Readonly<Record<string, string>>,
  others: Readonly<Record<string, string>>,
): Record<string, string> {
  for (const [key, value] of Object.entries(others)) {
    if (Object.hasOwn(path, key) && path[key] !== value)
      throw badParameters({ [key]: "duplicate parameter (already defined in URI) with conflicting values!" });
  }
  return { ...others, ...path };
}
