import { isUtf8 } from "node:buffer";
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Fault, toFault } from "../core/fault.ts";
import type { Front } from "../support/listen.ts";
import type { Logger } from "../support/log.ts";
import { discard, keepBody, readBody, sendFault } from "../support/node-http.ts";
import { dialectOf } from "./api/dialect.ts";
import { unknownModel } from "./api/model-names.ts";
import type { Ensemble } from "./ensemble.ts";
import { type Admission, type Gate, isProbe, keepAdmission } from "./gate.ts";
import type { PassThrough } from "./passthrough/pass-through.ts";
import { skim } from "./passthrough/request.ts";
import { type Route, ROUTES } from "./passthrough/routes.ts";

/** What the front is made of. */
export interface FrontParts {
  ensemble: Ensemble;
  gate: Gate;
  passThrough: PassThrough;
  log: Pick<Logger, "error">;
}

const BY_PATH: ReadonlyMap<string, Route> = new Map(ROUTES.map((route) => [route.path, route]));

/** Header that names a request in logs and answers; a client's own is kept. */
const REQUEST_ID = "x-request-id";

/**
 * Sees every request before the app: lets it in or not, gives it an id, and passes those that name one member straight to its server. All others go
 * on to the app, with their body read where its model had to be known.
 */
export function createFront(parts: FrontParts): Front {
  return (incoming, outgoing, next) => {
    const path = pathOf(incoming.url ?? "/");
    if (isProbe(path)) {
      next();
      return;
    }
    const id = requestIdOf(incoming);
    serve(parts, incoming, outgoing, path, id, next).catch((error: unknown) => {
      const fault = toFault(error);
      if (fault.code === "internal") parts.log.error({ err: fault.cause, path, requestId: id }, "request failed");
      discard(incoming, outgoing);
      sendFault(outgoing, fault, dialectOf(path), [REQUEST_ID, id]);
    });
  };
}

async function serve(
  { ensemble, gate, passThrough }: FrontParts,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  path: string,
  id: string,
  next: () => void,
): Promise<void> {
  const method = incoming.method ?? "GET";
  const knocked = gate.admit({
    method,
    path,
    headers: incoming.headers,
    remoteAddress: incoming.socket.remoteAddress ?? "",
  });
  const admission: Admission = knocked instanceof Promise ? await knocked : knocked;
  keepAdmission(incoming, admission);
  watch(admission, outgoing);
  const route = method === "POST" ? BY_PATH.get(path) : undefined;
  const onward = (): void => {
    outgoing.setHeader(REQUEST_ID, id);
    for (const [name, value] of Object.entries(admission.headers)) outgoing.setHeader(name, value);
    next();
  };
  if (route === undefined) {
    onward();
    return;
  }
  checkType(incoming);
  const body = await readBody(incoming, ensemble.config.limits.bodyBytes);
  if (!isUtf8(body)) throw new Fault("invalid_request", "body: not UTF-8");
  const skimmed = skim(body, route);
  keepBody(incoming, body);
  if (ensemble.isEnsemble(skimmed.model)) {
    admission.checkModel([ensemble.config.name]);
    if (!route.ensemble) throw notForEnsemble(ensemble, route);
    onward();
    return;
  }
  const member = ensemble.memberNamed(skimmed.model);
  if (member === undefined) throw unknownModel(ensemble, skimmed.model);
  admission.checkModel([member.name, member.model]);
  passThrough.pass({
    incoming,
    outgoing,
    route,
    skimmed,
    member,
    dialect: dialectOf(path),
    admission,
    ours: [
      ...[REQUEST_ID, id],
      ...(ensemble.draining ? ["connection", "close"] : []),
      ...Object.entries(admission.headers).flat(),
    ],
    otherwise: onward,
  });
}

/** Breaks an answer off whose asker may no longer ask. */
function watch(admission: Admission, outgoing: ServerResponse): void {
  const { ended } = admission;
  if (ended === undefined) return;
  ended.addEventListener("abort", () => outgoing.destroy(), { once: true });
  outgoing.once("close", () => admission.release());
}

function pathOf(url: string): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** The client's own id where it is fit for a log, else a fresh one. */
function requestIdOf(incoming: IncomingMessage): string {
  const given = incoming.headers[REQUEST_ID];
  return typeof given === "string" && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID();
}

/** Ollama's clients and curl -d send other types than JSON's; only what can be no JSON is refused. @throws Fault unsupported_media_type */
function checkType({ headers }: IncomingMessage): void {
  if (/^(multipart\/form-data|text\/html|application\/xml)/i.test(headers["content-type"] ?? ""))
    throw new Fault("unsupported_media_type", "content-type: want application/json");
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity")
    throw new Fault("unsupported_media_type", `content-encoding: got ${encoding.slice(0, 40)}, want none`);
}

function notForEnsemble(ensemble: Ensemble, { path }: Route): Fault {
  const names = ensemble.members().map(({ name }) => name);
  return new Fault(
    "invalid_request",
    `model: ${path} is answered by one member alone, not by ${ensemble.config.name}; ask ${names.join(", ")}`,
  );
}
