/**
 * An answer that is not 200. Proxmox puts the first line of the message into the HTTP reason phrase, and clients look for texts in it,
 * so the wording is part of the contract (pve-http-server, AnyEvent.pm; PVE::Exception).
 */
export class ApiError extends Error {
  readonly status: number;
  /** Parameter name to what is wrong with it; present only with `400 Parameter verification failed.` */
  readonly errors: Record<string, string> | undefined;
  /** False for the answers that Proxmox sends as plain text, without a JSON body (authentication, unknown paths). */
  readonly hasBody: boolean;

  constructor(status: number, message: string, more: { errors?: Record<string, string>; hasBody?: boolean } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.errors = more.errors;
    this.hasBody = more.hasBody ?? true;
  }
}

/** 500 with a message: what Perl's `die` becomes. */
export function failure(message: string): ApiError {
  return new ApiError(500, message);
}

/** 400 with one message a parameter: what `raise_param_exc` becomes. */
export function badParameters(errors: Record<string, string>): ApiError {
  return new ApiError(400, "Parameter verification failed.", { errors });
}

/** The text of anything thrown, for a task's last line or a log. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
