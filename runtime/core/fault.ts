import type { Stage } from "../contracts/native.ts";
import { FAULTS, type FaultCode } from "../contracts/errors.ts";

/** What a fault may carry beside its code and message. */
export interface FaultDetails {
  cause?: unknown;
  /** When to try again, seconds, for `Retry-After`. */
  retryAfterSeconds?: number;
  /** What each member did, where the pipeline had begun. */
  stages?: readonly Stage[];
  /** Member of the ensemble that failed. */
  member?: string;
  /** Further headers of the response, names in small letters. */
  headers?: Readonly<Record<string, string>>;
  /** Status with which a model server refused. */
  upstreamStatus?: number;
  /** Field of the request that is wrong, such as `messages.0.role`. */
  param?: string;
}

/** The one error of the runtime: a code of the table, and a message fit for the client (no secret, no stack). Each API dialect is made from it at the edge. */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly code: FaultCode;
  /** HTTP status. */
  readonly status: number;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  readonly retryAfterSeconds: number | undefined;
  readonly stages: readonly Stage[] | undefined;
  readonly member: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly upstreamStatus: number | undefined;
  readonly param: string | undefined;

  constructor(code: FaultCode, message: string, details: FaultDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = FAULTS[code].status;
    this.retryable = FAULTS[code].retryable;
    this.retryAfterSeconds = details.retryAfterSeconds;
    this.stages = details.stages;
    this.member = details.member;
    this.headers = details.headers ?? {};
    this.upstreamStatus = details.upstreamStatus;
    this.param = details.param;
  }
}

/** The fault itself, or `internal` around anything else: what was not foreseen tells the client nothing. */
export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  return new Fault("internal", "the service failed on this request; its log says why", { cause: error });
}
