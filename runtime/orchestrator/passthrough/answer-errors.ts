import type { FaultCode } from "../../contracts/errors.ts";
import { Fault } from "../../core/fault.ts";
import { refused, type Speaker } from "../upstream/answers.ts";
import type { Route } from "./routes.ts";

/** Statuses of a server that blame the request, as they are told to the client. */
const BLAMED: Readonly<Record<number, FaultCode>> = {
  400: "invalid_request",
  413: "body_too_large",
  422: "invalid_request",
  429: "rate_limited",
};

/** A server's error in words that every dialect has. */
export function faultOf(
  speaker: Speaker,
  status: number,
  bytes: Buffer,
  retryAfter: string | string[] | undefined,
): Fault {
  const fault = refused(speaker, status, bytes.toString("utf8"), retryAfter);
  const code = BLAMED[status];
  if (code === undefined) return fault;
  const seconds = Number(retryAfter);
  return new Fault(code, fault.message, {
    member: speaker.member.name,
    ...(retryAfter !== undefined && Number.isFinite(seconds) ? { retryAfterSeconds: seconds } : {}),
  });
}

/** A stream that ends in the server's own error has ended, too. */
export function saysEnd(tail: string, end: RegExp): boolean {
  return end.test(tail) || /"error":/.test(tail);
}

/** Whether bytes are an error object of an API. */
export function isErrorOf(api: Route["api"], bytes: Buffer): boolean {
  try {
    const document: unknown = JSON.parse(bytes.toString("utf8"));
    if (typeof document !== "object" || document === null || !("error" in document)) return false;
    const { error } = document;
    if (api === "ollama") return typeof error === "string";
    return typeof error === "object" && error !== null && "message" in error;
  } catch {
    return false;
  }
}
