/**
 * Every way in which a request can end without an answer: the code that clients see, its HTTP status, whether the same
 * request may succeed later, and the `type` of the OpenAI error object.
 */
export const FAULTS = {
  invalid_request: { status: 400, retryable: false, openaiType: "invalid_request_error" },
  unauthorized: { status: 401, retryable: false, openaiType: "authentication_error" },
  forbidden: { status: 403, retryable: false, openaiType: "permission_error" },
  not_found: { status: 404, retryable: false, openaiType: "invalid_request_error" },
  unknown_model: { status: 404, retryable: false, openaiType: "invalid_request_error" },
  method_not_allowed: { status: 405, retryable: false, openaiType: "invalid_request_error" },
  body_timeout: { status: 408, retryable: true, openaiType: "invalid_request_error" },
  /** The idempotency key was used with another request. */
  idempotency_conflict: { status: 409, retryable: false, openaiType: "invalid_request_error" },
  /** The first request with this idempotency key is still in work. */
  idempotency_in_progress: { status: 409, retryable: true, openaiType: "invalid_request_error" },
  body_too_large: { status: 413, retryable: false, openaiType: "invalid_request_error" },
  unsupported_media_type: { status: 415, retryable: false, openaiType: "invalid_request_error" },
  /** A model's bytes are not what its digest, its manifest or its own header says. */
  bad_model: { status: 422, retryable: false, openaiType: "invalid_request_error" },
  rate_limited: { status: 429, retryable: true, openaiType: "rate_limit_error" },
  /** The client went away first (nginx's number; nobody reads it but the log and the metrics). */
  cancelled: { status: 499, retryable: false, openaiType: "invalid_request_error" },
  internal: { status: 500, retryable: false, openaiType: "server_error" },
  not_supported: { status: 501, retryable: false, openaiType: "invalid_request_error" },
  /** A model server answered with something else than its API says. */
  model_bad_answer: { status: 502, retryable: true, openaiType: "server_error" },
  /** A model server answered with an error of its own. */
  model_failed: { status: 502, retryable: true, openaiType: "server_error" },
  /** A place of models could not be reached, refused, or broke off. */
  pull_failed: { status: 502, retryable: true, openaiType: "server_error" },
  /** No connection to a model server, or it broke. */
  model_unreachable: { status: 503, retryable: true, openaiType: "server_error" },
  model_loading: { status: 503, retryable: true, openaiType: "server_error" },
  /** Fewer candidates than the quorum gave an answer. */
  no_answer: { status: 503, retryable: true, openaiType: "server_error" },
  overloaded: { status: 503, retryable: true, openaiType: "server_error" },
  /** Conversations cannot be read or deleted now; questions are answered all the same. */
  store_unavailable: { status: 503, retryable: true, openaiType: "server_error" },
  draining: { status: 503, retryable: true, openaiType: "server_error" },
  deadline_exceeded: { status: 504, retryable: true, openaiType: "server_error" },
  /** No room on the disk, or in the store's budget. */
  store_full: { status: 507, retryable: true, openaiType: "server_error" },
  /** The model needs more memory than there is. */
  model_too_large: { status: 507, retryable: false, openaiType: "server_error" },
} as const satisfies Record<string, { status: number; retryable: boolean; openaiType: string }>;

/** Code of an error object, stable for clients. */
export type FaultCode = keyof typeof FAULTS;

/** All codes, in the table's order. */
export const FAULT_CODES = Object.keys(FAULTS) as [FaultCode, ...FaultCode[]];
