import { Agent, type Dispatcher } from "undici";
import { z } from "zod";
import type { ModelHost } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";
import { isBroken } from "./codes.ts";

const MOST_REDIRECTS = 5;
const MOST_TOKEN_BYTES = 262_144;

/** What a host answered. The body must be read or destroyed. */
export interface Answer {
  status: number;
  /** Names in small letters; of several of one name the first. */
  headers: Readonly<Record<string, string>>;
  body: Dispatcher.ResponseData["body"];
}

/** What all hosts share. */
export interface Wire {
  agent: Agent;
  env: Readonly<Record<string, string | undefined>>;
}

/** The connections to places of models. @param stallMs longest silence within an answer */
export function openWire({ connectMs, stallMs }: { connectMs: number; stallMs: number }, env: Wire["env"]): Wire {
  const agent = new Agent({
    connect: { timeout: connectMs },
    headersTimeout: stallMs,
    bodyTimeout: stallMs,
    // One download is one connection; the next part of it uses the same.
    keepAliveTimeout: 10_000,
    pipelining: 1,
  });
  return { agent, env };
}

/** One place of models: its address, and who asks. Its token is sent to this origin alone, never to where a redirect leads. */
export class HostClient {
  /** Base address without a slash at its end. */
  readonly base: string;
  readonly #name: string;
  readonly #wire: Wire;
  readonly #host: ModelHost;
  readonly #token: string | undefined;
  /** Tokens of the registry's token service by what they are for. */
  readonly #bearers = new Map<string, string>();

  /** @param name as people write it, for messages and `store.hosts` */
  constructor(name: string, host: ModelHost, wire: Wire) {
    this.#name = name;
    this.#host = host;
    this.#wire = wire;
    this.base = host.url ?? `https://${name}`;
    const token = host.tokenEnv === undefined ? undefined : wire.env[host.tokenEnv];
    this.#token = token === "" ? undefined : token;
  }

  /**
   * One GET, redirects followed. @param path below the base address, or a whole URL
   * @throws Fault pull_failed for what a further try would not mend; the connection's own error when it broke
   */
  async get(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    const scope = path.replace(/\/(manifests|blobs)\/.*$/, "");
    let answer = await this.#follow(path, headers, this.#authorization(scope), signal);
    if (answer.status !== 401) return answer;
    const challenge = answer.headers["www-authenticate"] ?? "";
    const renewed = await this.#answerTo(challenge, signal);
    if (renewed === undefined) return answer;
    discard(answer);
    if (renewed.startsWith("Bearer ")) this.#bearers.set(scope, renewed);
    answer = await this.#follow(path, headers, renewed, signal);
    return answer;
  }

  /** A refusal in words that say what to do. */
  refusal(status: number, what: string): Fault {
    if (status === 404 || status === 410)
      return new Fault("unknown_model", `${what}: ${this.#name} has none (HTTP ${status})`);
    if (status !== 401 && status !== 403)
      return new Fault("pull_failed", `${what}: ${this.#name} answered HTTP ${status}`);
    const { tokenEnv } = this.#host;
    const todo =
      tokenEnv === undefined
        ? `name a token's environment variable in store.hosts["${this.#name}"].tokenEnv`
        : this.#token === undefined
          ? `set ${tokenEnv}`
          : `the token in ${tokenEnv} is not enough`;
    return new Fault("pull_failed", `${what}: ${this.#name} refused (HTTP ${status}); ${todo}`);
  }

  #authorization(scope: string): string | undefined {
    const known = this.#bearers.get(scope);
    if (known !== undefined || this.#token === undefined) return known;
    return this.#host.username === undefined ? `Bearer ${this.#token}` : undefined;
  }

  async #follow(
    path: string,
    headers: Readonly<Record<string, string>>,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    const own = new URL(this.base).origin;
    let url = new URL(/^https?:\/\//.test(path) ? path : `${this.base}${path}`);
    // Once a redirect has left this origin, nothing that follows is told who asks.
    let isOwn = url.origin === own;
    for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
      const answer = await this.#request(
        url,
        { ...headers, ...(isOwn && authorization !== undefined ? { authorization } : {}) },
        signal,
      );
      const { location } = answer.headers;
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
      discard(answer);
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (
        next === undefined ||
        !["http:", "https:"].includes(next.protocol) ||
        (url.protocol === "https:" && next.protocol === "http:")
      )
        throw new Fault(
          "pull_failed",
          `${this.#name}: redirects to where nothing is fetched from (another protocol, or from HTTPS to HTTP)`,
        );
      isOwn &&= next.origin === own;
      url = next;
    }
    throw new Fault("pull_failed", `${this.#name}: redirects more than ${MOST_REDIRECTS} times`);
  }

  async #request(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    const {
      statusCode,
      headers: got,
      body,
    } = await this.#wire.agent
      .request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: "GET",
        // Bytes as they are: a packed answer has another length and another digest.
        headers: { "accept-encoding": "identity", "user-agent": "gorkheavy", ...headers },
        highWaterMark: 1_048_576,
        signal,
      })
      .catch((error: unknown) => {
        signal.throwIfAborted();
        if (isBroken(error)) throw error;
        throw new Fault(
          "pull_failed",
          `${this.#name}: ${url.host} cannot be asked: ${error instanceof Error ? error.message : "failed"}`,
          {
            cause: error,
          },
        );
      });
    const flat = Object.fromEntries(
      Object.entries(got).map(([name, value]) => [name, Array.isArray(value) ? (value[0] ?? "") : (value ?? "")]),
    );
    return { status: statusCode, headers: flat, body };
  }

  /** What to send after a 401. Source: distribution/distribution docs/spec/auth/token.md. Undefined: nothing that would help. */
  async #answerTo(challenge: string, signal: AbortSignal): Promise<string | undefined> {
    const { username } = this.#host;
    const basic =
      username === undefined || this.#token === undefined
        ? undefined
        : `Basic ${Buffer.from(`${username}:${this.#token}`).toString("base64")}`;
    if (/^basic\b/i.test(challenge)) return basic;
    if (!/^bearer\b/i.test(challenge)) return undefined;
    const fields = new Map(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key.toLowerCase(), value]),
    );
    const realm = fields.get("realm") ?? "";
    if (!URL.canParse(realm)) return undefined;
    const url = new URL(realm);
    const own = new URL(this.base);
    if (url.protocol !== "https:" && !(url.protocol === "http:" && own.protocol === "http:"))
      throw new Fault("pull_failed", `${this.#name}: its token service is not reached by HTTPS`);
    for (const key of ["service", "scope"]) {
      const value = fields.get(key);
      if (value !== undefined) url.searchParams.set(key, value);
    }
    const isTrusted = url.origin === own.origin || this.#host.tokenHosts.includes(url.host);
    const answer = await this.#request(url, basic !== undefined && isTrusted ? { authorization: basic } : {}, signal);
    const text = await textOf(answer, MOST_TOKEN_BYTES, `${this.#name}: token service`);
    if (answer.status !== 200)
      throw new Fault("pull_failed", `${this.#name}: its token service ${url.host} answered HTTP ${answer.status}`);
    const token = TokenSchema.safeParse(jsonOf(text)).data;
    const value = token?.token ?? token?.access_token;
    if (value === undefined)
      throw new Fault("pull_failed", `${this.#name}: its token service ${url.host} gave no token`);
    return `Bearer ${value}`;
  }
}

const TokenText = z
  .string()
  .regex(/^[\x21-\x7e]{1,32768}$/)
  .optional();
const TokenSchema = z.looseObject({ token: TokenText, access_token: TokenText });

/** Leaves an answer whose body is of no use; a short one is read away, so that its connection serves the next request. */
export function discard({ body }: Answer): void {
  body.dump({ limit: 65_536 }).catch(() => undefined);
}

/** Closes the connection of an answer that is not read to its end. */
export function abandon({ body }: Answer): void {
  // It says that it was closed, to whoever listens or else to the process.
  body.on("error", () => undefined);
  body.destroy();
}

/** A body as text. @throws Fault bad_model when it is longer than it may be */
export async function textOf(answer: Answer, mostBytes: number, what: string): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of answer.body) {
    size += (part as Buffer).length;
    if (size > mostBytes) {
      abandon(answer);
      throw new Fault("bad_model", `${what}: longer than ${mostBytes} bytes`);
    }
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString("utf8");
}
