import type { NativeError } from "../../contracts/native.ts";
import type { Fault } from "../../core/fault.ts";
import type { Dialect } from "../../support/http.ts";

/** The error object of a fault. */
export function errorOf(fault: Fault): NativeError["error"] {
  const { code, message, retryable, stages } = fault;
  return { code, message, retryable, ...(stages === undefined ? {} : { stages: [...stages] }) };
}

/** Error object of the native API. */
export const NATIVE_DIALECT: Dialect = { body: (fault) => ({ error: errorOf(fault) }) };
