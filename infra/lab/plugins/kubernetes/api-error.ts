import { isJsonObject } from "./manifest.ts";
import type { Json } from "./manifest.ts";

/** The API server's refusal, as its `Status` object says it. */
export class ApiError extends Error {
  /** HTTP status. */
  readonly status: number;
  /** `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `Forbidden`, …; "" when the answer was no Status. */
  readonly reason: string;
  /** Plural of the object that the refusal is about, such as `namespaces`; "" when unsaid. */
  readonly about: string;
  /** Reasons of the single causes, such as `FieldManagerConflict`. */
  readonly causes: readonly { reason: string; field: string }[];
  constructor(status: number, body: Json | undefined, request: string) {
    const answer = isJsonObject(body) ? body : {};
    const details = isJsonObject(answer["details"]) ? answer["details"] : {};
    const message = typeof answer["message"] === "string" ? answer["message"] : `${request}: HTTP ${status}`;
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.reason = typeof answer["reason"] === "string" ? answer["reason"] : "";
    this.about = typeof details["kind"] === "string" ? details["kind"] : "";
    const causes = Array.isArray(details["causes"]) ? details["causes"] : [];
    this.causes = causes.filter(isJsonObject).map((cause) => ({
      reason: typeof cause["reason"] === "string" ? cause["reason"] : "",
      field: typeof cause["field"] === "string" ? cause["field"] : "",
    }));
  }

  /** True when a field belongs to another manager and the apply was not forced. */
  get isFieldConflict(): boolean {
    return this.status === 409 && this.causes.some((cause) => cause.reason === "FieldManagerConflict");
  }

  /** True when the object's namespace is what is missing. */
  get isNamespaceMissing(): boolean {
    return this.status === 404 && this.about === "namespaces";
  }
}

/** The API server could not be asked at all: no kubeconfig, refused connection, wrong certificate, timeout. */
export class UnreachableError extends Error {
  constructor(reason: string, cause?: unknown) {
    super(reason, { cause });
    this.name = "UnreachableError";
  }
}

/** The API server has no such kind: its CustomResourceDefinition is missing, or the name is wrong. */
export class NoSuchKindError extends Error {
  constructor(apiVersion: string, kind: string) {
    super(`no matches for kind "${kind}" in version "${apiVersion}"`);
    this.name = "NoSuchKindError";
  }
}

/** True for "no such object". */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}
