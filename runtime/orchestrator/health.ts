import { z } from "zod";
import type { EnsembleConfig, Member } from "../contracts/ensemble-config.ts";
import { OllamaTags } from "../contracts/ollama.ts";
import { OpenAiModels } from "../contracts/openai.ts";
import { Fault } from "../core/fault.ts";
import { monotonicMs } from "../support/clock.ts";
import type { Upstream } from "./upstream.ts";

/** Whether one member can answer now, and why not. */
export interface MemberHealth {
  member: string;
  model: string;
  /** One of its pods at least can. */
  ready: boolean;
  reason?: string;
  /** Where it has pods of its own: each of them. */
  pods?: { pod: string; ready: boolean; reason?: string }[];
}

/** Whether the ensemble can answer now. */
export interface Readiness {
  ready: boolean;
  /** Candidates that can answer. */
  candidates: number;
  quorum: number;
  members: MemberHealth[];
}

/** How long an answer of the members is good for, ms: a probe every second must not ask five servers each time. */
const FRESH_MS = 1_000;

/** Asks the members whether they can answer; many askers at once make one round. */
export class Health {
  readonly #config: EnsembleConfig;
  readonly #upstream: Pick<Upstream, "get" | "pods">;
  readonly #seenWell: (member: string, pod: string) => void;
  #round: { at: number; result: Promise<Readiness> } | undefined;

  /** @param seenWell told of each pod that can answer. */
  constructor(
    config: EnsembleConfig,
    upstream: Pick<Upstream, "get" | "pods">,
    seenWell: (member: string, pod: string) => void = () => undefined,
  ) {
    this.#seenWell = seenWell;
    this.#config = config;
    this.#upstream = upstream;
  }

  /** Readiness, at most a second old. */
  check(): Promise<Readiness> {
    if (this.#round !== undefined && monotonicMs() - this.#round.at < FRESH_MS) return this.#round.result;
    const result = this.#ask();
    this.#round = { at: monotonicMs(), result };
    return result;
  }

  async #ask(): Promise<Readiness> {
    const members = await Promise.all(this.#config.members.map((member) => this.#one(member)));
    const candidates = this.#config.members.filter(
      (member, index) => member.role === "candidate" && members[index]?.ready === true,
    ).length;
    return { ready: candidates >= this.#config.quorum, candidates, quorum: this.#config.quorum, members };
  }

  async #one(member: Member): Promise<MemberHealth> {
    const base = { member: member.name, model: member.model };
    const signal = AbortSignal.timeout(this.#config.deadlines.healthMs);
    try {
      const pods = await Promise.all((await this.#upstream.pods(member)).map((pod) => this.#pod(member, pod, signal)));
      const ready = pods.some((one) => one.ready);
      const reason = ready ? undefined : pods.map((one) => one.reason).find((one) => one !== undefined);
      return {
        ...base,
        ready,
        ...(reason === undefined ? {} : { reason }),
        ...(member.podsUrl === undefined ? {} : { pods }),
      };
    } catch (error) {
      return { ...base, ready: false, reason: error instanceof Fault ? error.message : "failed" };
    }
  }

  async #pod(
    member: Member,
    pod: string,
    signal: AbortSignal,
  ): Promise<{ pod: string; ready: boolean; reason?: string }> {
    try {
      const reason = await reasonNotReady(member, (path) => this.#upstream.get(member, path, signal, pod));
      if (reason === undefined) this.#seenWell(member.name, pod);
      return reason === undefined ? { pod, ready: true } : { pod, ready: false, reason };
    } catch (error) {
      const timedOut = error instanceof Fault && error.cause instanceof Error && error.cause.name === "TimeoutError";
      const reason = timedOut
        ? `no answer within ${this.#config.deadlines.healthMs} ms`
        : error instanceof Fault
          ? error.message
          : "failed";
      return { pod, ready: false, reason };
    }
  }
}

const EngineHealth = z.looseObject({
  ready: z.boolean(),
  state: z.string().optional(),
  models: z.array(z.looseObject({ name: z.string(), state: z.string().optional() })),
});

/** Our engine says by itself whether a model is loaded; another server at least must have it. */
async function reasonNotReady(
  member: Member,
  get: (path: string) => ReturnType<Upstream["get"]>,
): Promise<string | undefined> {
  if (member.api === "openai") {
    const { status, body } = await get("/v1/models");
    const models = OpenAiModels.safeParse(body);
    if (!models.success) return `GET /v1/models answered ${status}`;
    return models.data.data.some(({ id }) => id === member.model)
      ? undefined
      : `the server has no model ${member.model}`;
  }
  const engine = await get("/models/health");
  const health = EngineHealth.safeParse(engine.body);
  if (health.success) {
    const model = health.data.models.find(({ name }) => sameModel(name, member.model));
    if (model === undefined) return `the server has no model ${member.model}`;
    if (model.state === "ready" && health.data.state !== "draining") return undefined;
    return `the model is ${health.data.state === "draining" ? "draining" : (model.state ?? "not ready")}`;
  }
  const { status, body } = await get("/api/tags");
  const tags = OllamaTags.safeParse(body);
  if (!tags.success) return `GET /api/tags answered ${status}`;
  return tags.data.models.some(({ name }) => sameModel(name, member.model))
    ? undefined
    : `the server has no model ${member.model}; pull it`;
}

function sameModel(a: string, b: string): boolean {
  return a === b || a === `${b}:latest` || `${a}:latest` === b;
}
