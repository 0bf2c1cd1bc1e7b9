import { Agent, type Dispatcher, type Pool } from "undici";
import type { Member } from "../contracts/ensemble-config.ts";
import { Fault } from "../core/fault.ts";
import type { ModelCall, Piece } from "../core/ports.ts";
import { jsonOf } from "../support/json.ts";
import { LineError } from "../support/lines.ts";
import { callFailure, target, textOf } from "../support/server-answer.ts";
import { bad, refused, type Speaker } from "./upstream/answers.ts";
import { Discovery, type Resolve } from "./upstream/discovery.ts";
import { ollamaBody, ollamaPieces } from "./upstream/ollama.ts";
import { openAiBody, openAiPieces } from "./upstream/openai.ts";
import { Watched } from "./upstream/watch.ts";

/** What an upstream is made of. */
export interface UpstreamOptions {
  /** Longest time for a connection to a member's own address, ms. */
  connectMs: number;
  /** Longest time for a connection to one of its pods, ms. @default connectMs */
  podConnectMs?: number;
  /** Silence within a call after which a server is asked for a sign of life, ms. 0: never. @default 0 */
  silenceMs?: number;
  /** Longest time for a sign of life, ms. @default connectMs */
  healthMs?: number;
  /** Where `apiKeyEnv` of a member is looked up. */
  env?: Readonly<Record<string, string | undefined>>;
  /** How names become addresses. @default - as the system does */
  resolve?: Resolve;
}

/** The connections to all members. Every call streams, so that closing one stops its model (ollama#11889). */
export class Upstream {
  readonly #own: Agent;
  readonly #pods: Agent;
  readonly #discovery: Discovery;
  readonly #silenceMs: number;
  readonly #healthMs: number;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #targets = new Map<string, { origin: string; path: string }>();
  readonly #asked = new Map<string, Promise<boolean>>();

  constructor(options: UpstreamOptions) {
    const { connectMs, podConnectMs = connectMs, resolve } = options;
    this.#env = options.env ?? {};
    this.#silenceMs = options.silenceMs ?? 0;
    this.#healthMs = options.healthMs ?? connectMs;
    this.#discovery = new Discovery({ waitMs: connectMs, ...(resolve === undefined ? {} : { resolve }) });
    this.#own = new Agent(connectionOptions(connectMs));
    this.#pods = new Agent(connectionOptions(podConnectMs));
  }

  /** Base addresses at which a member can be called. @throws Fault model_unreachable */
  pods(member: Member): readonly string[] | Promise<readonly string[]> {
    return this.#discovery.pods(member);
  }

  /**
   * Streams one answer. @param pod base address to call. Absent: the member's own. @param headers further ones for its server
   * @throws Fault model_unreachable, model_loading, model_failed, model_bad_answer, each naming the member
   */
  async *call(
    call: ModelCall,
    signal: AbortSignal,
    pod?: string,
    headers: Readonly<Record<string, string>> = {},
  ): AsyncIterable<Piece> {
    const { member } = call;
    const speaker: Speaker = { member, at: pod ?? member.url };
    const ollama = member.api === "ollama";
    const path = ollama ? "/api/chat" : "/v1/chat/completions";
    const stop = new AbortController();
    const cancel = (): void => stop.abort(signal.reason);
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const watched = new Watched({ silenceMs: this.#silenceMs, alive: () => this.alive(member, speaker.at) }, () => {
      const what = `${speaker.at} gave no sign of life within ${this.#healthMs} ms, and had been silent for ${this.#silenceMs} ms`;
      stop.abort(new Fault("model_unreachable", what, { member: member.name }));
    });
    let body: Dispatcher.ResponseData["body"] | undefined;
    try {
      body = await this.#open(speaker, path, ollama ? ollamaBody(call) : openAiBody(call), stop.signal, headers);
      for await (const piece of ollama ? ollamaPieces(speaker, body) : openAiPieces(speaker, body)) {
        watched.heard();
        yield piece;
      }
    } catch (error) {
      throw this.#fault(speaker, error);
    } finally {
      watched.close();
      signal.removeEventListener("abort", cancel);
      body?.destroy();
    }
  }

  /** Whether a server gives a sign of life: any answer is one. Many askers at once are one question. */
  alive(member: Member, pod: string): Promise<boolean> {
    const running = this.#asked.get(pod);
    if (running !== undefined) return running;
    const path = member.api === "ollama" ? "/api/version" : "/v1/models";
    const asked = this.get(member, path, AbortSignal.timeout(this.#healthMs), pod)
      .then(
        () => true,
        () => false,
      )
      .finally(() => this.#asked.delete(pod));
    this.#asked.set(pod, asked);
    return asked;
  }

  /** GETs a JSON document of a member. Undefined body when it is not JSON, or longer than any document of these APIs. @param pod absent: the member's own address @throws Fault model_unreachable */
  async get(
    member: Member,
    path: string,
    signal: AbortSignal,
    pod = member.url,
  ): Promise<{ status: number; body: unknown }> {
    const speaker = { member, at: pod };
    try {
      const answer = await this.#agent(speaker).request({
        ...this.#target(pod, path),
        method: "GET",
        signal,
        headers: this.#headers(speaker),
      });
      const text = await textOf(answer.body);
      return { status: answer.statusCode, body: jsonOf(text) };
    } catch (error) {
      throw this.#fault(speaker, error);
    }
  }

  /** Breaks all connections. */
  async close(): Promise<void> {
    await Promise.all([this.#own.destroy(), this.#pods.destroy()]);
  }

  async #open(
    speaker: Speaker,
    path: string,
    body: unknown,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>>,
  ): Promise<Dispatcher.ResponseData["body"]> {
    const answer = await this.#agent(speaker).request({
      ...this.#target(speaker.at, path),
      method: "POST",
      headers: { ...headers, ...this.#headers(speaker), "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer.body;
    const text = await textOf(answer.body).catch(() => "");
    throw refused(speaker, answer.statusCode, text, answer.headers["retry-after"]);
  }

  #agent({ member, at }: Speaker): Agent {
    return at === member.url ? this.#own : this.#pods;
  }

  #target(base: string, path: string): { origin: string; path: string } {
    let known = this.#targets.get(base);
    if (known === undefined) {
      known = target(base, "");
      // Pods come and go for months; those of now are asked again soon enough.
      if (this.#targets.size >= MOST_TARGETS) this.#targets.clear();
      this.#targets.set(base, known);
    }
    return { origin: known.origin, path: `${known.path}${path}` };
  }

  #headers(speaker: Speaker): { host?: string; authorization?: string } {
    return { ...hostHeader(speaker), ...keyHeaders(speaker.member, this.#env) };
  }

  #fault(speaker: Speaker, error: unknown): Fault {
    const fault = connectionFault(speaker, error);
    if (fault.code === "model_unreachable") this.#discovery.doubt(speaker.member);
    return fault;
  }
}

/** Addresses whose parts are kept. */
const MOST_TARGETS = 1_000;

/** How members' servers are connected to. */
export function connectionOptions(connectMs: number): Pool.Options {
  return {
    connect: { timeout: connectMs },
    // Deadlines are the callers'; a slow model is not a broken one.
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
    pipelining: 1,
  };
}

/** The header with a member's key, where it has one. @throws Fault model_failed when its variable is not set */
export function keyHeaders(
  member: Member,
  env: Readonly<Record<string, string | undefined>>,
): { authorization?: string } {
  if (member.apiKeyEnv === undefined) return {};
  const key = env[member.apiKeyEnv];
  if (key === undefined || key === "") {
    throw new Fault("model_failed", `${member.name}: the environment variable ${member.apiKeyEnv} is not set`, {
      member: member.name,
    });
  }
  return { authorization: `Bearer ${key}` };
}

/** A server with a certificate or several names is called by its name, wherever it is. */
export function hostHeader({ member, at }: Speaker): { host?: string } {
  return at === member.url || member.podsUrl === undefined ? {} : { host: new URL(member.podsUrl).host };
}

/** The fault of a call whose connection could not be made or broke, or whose answer could not be read. */
export function connectionFault(speaker: Speaker, error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof LineError) return bad(speaker, error.message);
  const { what, unreachable } = callFailure(error);
  return new Fault(
    unreachable ? "model_unreachable" : "model_failed",
    unreachable ? `no connection to ${speaker.at} (${what})` : `the call of ${speaker.at} failed (${what})`,
    { cause: error, member: speaker.member.name },
  );
}
