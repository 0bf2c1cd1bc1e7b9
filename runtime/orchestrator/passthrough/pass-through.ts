import type { IncomingMessage, ServerResponse } from "node:http";
import { Pool } from "undici";
import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { endOf } from "../../core/passage.ts";
import type { Passage, PassageEnd } from "../../core/traffic.ts";
import { monotonicMs } from "../../support/clock.ts";
import type { Dialect } from "../../support/http.ts";
import { sendFault } from "../../support/node-http.ts";
import type { Ensemble } from "../ensemble.ts";
import type { Admission } from "../gate.ts";
import { target } from "../../support/server-answer.ts";
import { connectionOptions, hostHeader, keyHeaders } from "../upstream.ts";
import { PassMetrics } from "./metrics.ts";
import { Relay, type Relayed } from "./relay.ts";
import { bodyFor, type Skimmed } from "./request.ts";
import type { Route } from "./routes.ts";
import { usedOf } from "./tail.ts";
import { translate } from "./translate/routes.ts";
import type { Translation } from "./translate/translation.ts";

/** How long a path that a member's server did not have is not tried again, ms: a server may be replaced by a newer one. */
const NO_SUCH_PATH_MS = 300_000;

/** Headers of the client that a member's server is told, too: those of traces. Keys and cookies stay here. */
const FORWARDED = ["traceparent", "tracestate"] as const;

/** One request to pass on. */
export interface Passing {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  route: Route;
  skimmed: Skimmed;
  member: Member;
  dialect: Dialect;
  admission: Admission;
  /** Headers of every answer, as name, value, name, value. */
  ours: readonly string[];
  /** Answers where the member's server does not have the path and nothing can be translated. */
  otherwise: () => void;
}

/** Passes requests for one model to its server, byte for byte but for the model's name. */
export class PassThrough {
  readonly #ensemble: Ensemble;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #metrics: PassMetrics;
  readonly #pools = new Map<string, Pool>();
  /** Until when a member's server is known not to have a path, by member and path. */
  readonly #noSuchPath = new Map<string, number>();
  #inFlight = 0;

  /** @param env where `apiKeyEnv` of a member is looked up. */
  constructor(ensemble: Ensemble, env: Readonly<Record<string, string | undefined>> = {}) {
    this.#ensemble = ensemble;
    this.#env = env;
    this.#metrics = new PassMetrics(ensemble.metrics.registry, () => this.#inFlight);
  }

  /** Calls passed on now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Passes a request on; its answer, or a fault in its dialect, is written to `outgoing`. */
  pass(passing: Passing): void {
    const { member, route, outgoing, dialect, ours } = passing;
    const place = `${member.name} ${route.path}`;
    let translation: Translation | undefined;
    if (!this.#speaks(member, route, place)) {
      try {
        translation = translate(route.path, passing.skimmed.bytes, member, monotonicMs);
      } catch (error) {
        sendFault(outgoing, toFault(error), dialect, ours);
        return;
      }
      if (translation === undefined) {
        passing.otherwise();
        return;
      }
    }
    const passage = this.#full() ?? this.#ensemble.passage(member, affinityOf(passing));
    if (passage instanceof Fault) {
      sendFault(outgoing, passage, dialect, ours);
      return;
    }
    let headers: Record<string, string>;
    try {
      headers = this.#headersFor(passing, passage.pod);
    } catch (error) {
      passage.ended("abandoned");
      sendFault(outgoing, toFault(error), dialect, ours);
      return;
    }
    this.#relay(passing, headers, place, passage, translation);
  }

  /** Breaks all connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }

  #relay(
    passing: Passing,
    headers: Record<string, string>,
    place: string,
    passage: Passage,
    translation: Translation | undefined,
  ): void {
    const { member, route, outgoing, dialect, ours, skimmed, admission } = passing;
    const beganMs = monotonicMs();
    const { origin, path } = target(passage.pod, translation?.path ?? route.path);
    this.#inFlight++;
    new Relay(this.#poolOf(origin), {
      member,
      at: passage.pod,
      route,
      path,
      headers,
      body: translation?.body ?? bodyFor(skimmed, member, route),
      ...(translation === undefined ? {} : { translation }),
      outgoing,
      dialect,
      ours: [...ours, "x-gorkheavy-member", member.name],
      ...(skimmed.model === member.model ? {} : { rename: skimmed.model }),
      ...(route.api === member.api || translation !== undefined
        ? {}
        : {
            noSuchPath: () => {
              this.#noSuchPath.set(place, monotonicMs() + NO_SUCH_PATH_MS);
              this.pass(passing);
            },
          }),
      deadlineMs: this.#ensemble.config.deadlines.totalMs,
      now: monotonicMs,
      ended: (how) => {
        this.#inFlight--;
        passage.ended(endedOf(how));
        if (how.outcome === "elsewhere") return;
        const used = usedOf(how.tail.text(), how.streamed ? how.tail.parts : 0);
        admission.settle(used);
        this.#metrics.ended(member.name, how, monotonicMs() - beganMs, used);
      },
    });
  }

  /** Whether a member's server is to be asked on this path at all. */
  #speaks(member: Member, route: Route, place: string): boolean {
    if (route.api === member.api) return true;
    // An Ollama server has the OpenAI API beside its own (0.17: chat, completions, embeddings, responses), not the other way round.
    if (member.api === "openai") return false;
    const until = this.#noSuchPath.get(place);
    return until === undefined || monotonicMs() > until;
  }

  #full(): Fault | undefined {
    const most = this.#ensemble.config.limits.passed;
    if (this.#inFlight < most) return undefined;
    return new Fault("overloaded", `${most} calls are passed on now, which is the limit (limits.passed)`, {
      retryAfterSeconds: 1,
    });
  }

  #headersFor({ member, incoming }: Passing, pod: string): Record<string, string> {
    const headers: Record<string, string> = {
      "content-type": "application/json",
      accept: incoming.headers.accept ?? "*/*",
      ...hostHeader({ member, at: pod }),
      ...keyHeaders(member, this.#env),
    };
    for (const name of FORWARDED) {
      const value = incoming.headers[name];
      if (typeof value === "string") headers[name] = value;
    }
    return headers;
  }

  #poolOf(origin: string): Pool {
    let pool = this.#pools.get(origin);
    if (pool === undefined) {
      pool = new Pool(origin, connectionOptions(this.#ensemble.config.deadlines.connectMs));
      this.#pools.set(origin, pool);
    }
    return pool;
  }
}

/** Bytes of a conversation's first messages by which it is told from others. */
const BEGINNING_BYTES = 512;

/** Requests of one conversation begin alike: the pod that has read the last one has most of the next. Nothing where there is no choice. */
function affinityOf({ member, skimmed: { bytes, fields } }: Passing): string {
  if (member.podsUrl === undefined) return "";
  const start = fields.find(({ key }) => key === "messages" || key === "prompt" || key === "input")?.start ?? 0;
  return bytes.toString("latin1", start, start + BEGINNING_BYTES);
}

/** What a relayed call says of its server's health. */
function endedOf({ outcome, fault }: Relayed): PassageEnd {
  if (outcome === "answered" || outcome === "refused" || outcome === "elsewhere") return "ok";
  if (outcome === "timeout") return "failed";
  return outcome === "failed" ? endOf(fault) : "abandoned";
}
