import { Readable } from "node:stream";
import { Agent, type Dispatcher } from "undici";
import type { z } from "zod";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";
import { LineError, linesOf } from "../../support/lines.ts";
import { callFailure, errorWords, target, textOf } from "../../support/server-answer.ts";

/** Which server an engine stands in front of. */
export interface UpstreamServerOptions {
  /** Base address, such as `http://127.0.0.1:11434`; without user and password. */
  url: string;
  /** Bearer token that the server wants. It never stands in a message. Absent: none. */
  key?: string;
  /** Longest time for a connection, ms. @default 5000 */
  connectMs?: number;
}

const CONNECT_MS = 5_000;
/** Shortest key that is looked for in the server's words: a shorter one could be any word. */
const SHORTEST_KEY = 4;

/** What is sent: a JSON document, or bytes as they come. */
type Body = { json: unknown } | { bytes: AsyncIterable<Uint8Array> };

/** A model server elsewhere: its connections, and its errors as faults in its own words. */
export class UpstreamServer {
  /** Base address, for messages. */
  readonly at: string;
  readonly #key: string | undefined;
  readonly #agent: Agent;

  /** @throws Error naming `--upstream` when it is no address of a server */
  constructor({ url, key, connectMs = CONNECT_MS }: UpstreamServerOptions) {
    this.at = checkedUrl(url);
    this.#key = key === "" ? undefined : key;
    // A slow model is no broken one: how long an answer may take is for whoever asks.
    this.#agent = new Agent({ connect: { timeout: connectMs }, headersTimeout: 0, bodyTimeout: 0, pipelining: 1 });
  }

  /** Asks for a JSON document. @throws Fault; model_bad_answer when it is none of that kind */
  async ask<S extends z.ZodType>(
    method: "GET" | "POST" | "DELETE",
    path: string,
    schema: S,
    signal: AbortSignal,
    json?: unknown,
  ): Promise<z.output<S>> {
    const answer = await this.#request(method, path, signal, json === undefined ? undefined : { json });
    const text = await this.#reading(textOf(answer.body), signal);
    const parsed = schema.safeParse(text.trim() === "" ? {} : jsonOf(text));
    if (!parsed.success) throw this.bad(`something else than the document of ${path}`);
    return parsed.data;
  }

  /** The status of an answer to a question without a body; its own body is thrown away. @throws Fault model_unreachable */
  async status(method: "GET" | "HEAD", path: string, signal: AbortSignal): Promise<number> {
    const answer = await this.#send(method, path, signal, undefined);
    await answer.body.dump().catch(() => undefined);
    return answer.statusCode;
  }

  /** Sends bytes. @throws Fault */
  async put(path: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const answer = await this.#request("POST", path, signal, { bytes });
    await answer.body.dump().catch(() => undefined);
  }

  /**
   * The lines of a streamed answer. Its connection is closed as soon as nobody reads them any more or the signal aborts: that is what makes
   * a server stop to generate. @throws Fault, or the signal's reason
   */
  async *lines(path: string, json: unknown, signal: AbortSignal): AsyncIterable<string> {
    const stop = new AbortController();
    const cancel = (): void => stop.abort(signal.reason);
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    let body: Dispatcher.ResponseData["body"] | undefined;
    try {
      ({ body } = await this.#request("POST", path, stop.signal, { json }));
      for await (const line of linesOf(body)) {
        // What was sent before the abort may still lie here.
        signal.throwIfAborted();
        yield line;
      }
    } catch (error) {
      throw this.#fault(error, signal);
    } finally {
      signal.removeEventListener("abort", cancel);
      stop.abort(new Fault("cancelled", "the answer is no longer read"));
      body?.on("error", () => undefined).destroy();
    }
  }

  /** The fault of an answer that is not of its API. */
  bad(what: string): Fault {
    return new Fault("model_bad_answer", `${this.at} sent ${what}`);
  }

  /** The fault of an error that the server tells in the middle of an answer. */
  brokeOff(words: string): Fault {
    return new Fault("model_failed", `${this.at} broke off: ${this.#clean(words)}`);
  }

  /** Breaks all connections. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #request(
    method: "GET" | "POST" | "DELETE",
    path: string,
    signal: AbortSignal,
    body: Body | undefined,
  ): Promise<Dispatcher.ResponseData> {
    const answer = await this.#send(method, path, signal, body);
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer;
    const words = errorWords(await textOf(answer.body).catch(() => ""));
    throw this.#refused(answer.statusCode, words ?? "", Number(answer.headers["retry-after"]));
  }

  #send(
    method: "GET" | "HEAD" | "POST" | "DELETE",
    path: string,
    signal: AbortSignal,
    body: Body | undefined,
  ): Promise<Dispatcher.ResponseData> {
    const type = body === undefined || "json" in body ? "application/json" : "application/octet-stream";
    return this.#reading(
      this.#agent.request({
        ...target(this.at, path),
        method,
        signal,
        headers: {
          ...(body === undefined ? {} : { "content-type": type }),
          ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
        },
        ...(body === undefined ? {} : { body: "json" in body ? JSON.stringify(body.json) : asRequestBody(body.bytes) }),
      }),
      signal,
    );
  }

  async #reading<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.#fault(error, signal);
    }
  }

  #fault(error: unknown, signal: AbortSignal): Error {
    if (signal.aborted) return signal.reason instanceof Error ? signal.reason : new Fault("cancelled", "aborted");
    if (error instanceof Fault) return error;
    if (error instanceof LineError) return this.bad(error.message);
    const { what, unreachable } = callFailure(error);
    return unreachable
      ? new Fault("model_unreachable", `no connection to ${this.at} (${what})`, { cause: error })
      : new Fault("model_failed", `the call of ${this.at} failed (${what})`, { cause: error });
  }

  /** Codes of the table for statuses of model servers; what is not the caller's fault is the server's. */
  #refused(status: number, words: string, retryAfter: number): Fault {
    const detail = words === "" ? "" : `: ${this.#clean(words)}`;
    const busy = status === 503 || status === 429;
    const code =
      status === 404
        ? "unknown_model"
        : status === 400 || status === 413 || status === 422
          ? "invalid_request"
          : busy
            ? /loading|starting/i.test(words)
              ? "model_loading"
              : "overloaded"
            : "model_failed";
    const hint = status === 401 || status === 403 ? "; see that GORKHEAVY_UPSTREAM_KEY is the key that it wants" : "";
    return new Fault(code, `${this.at} answered ${status}${detail}${hint}`, {
      upstreamStatus: status,
      ...(busy && Number.isFinite(retryAfter) ? { retryAfterSeconds: retryAfter } : {}),
    });
  }

  #clean(words: string): string {
    return this.#key === undefined || this.#key.length < SHORTEST_KEY ? words : words.replaceAll(this.#key, "***");
  }
}

function asRequestBody(bytes: AsyncIterable<Uint8Array>): Readable {
  return Readable.from(bytes, { objectMode: false });
}

function checkedUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !["http:", "https:"].includes(parsed.protocol))
    throw new Error(`--upstream: got "${url}", want an address such as http://127.0.0.1:11434`);
  if (parsed.username !== "" || parsed.password !== "")
    throw new Error("--upstream: want an address without user and password; give a key in GORKHEAVY_UPSTREAM_KEY");
  if (parsed.search !== "" || parsed.hash !== "")
    throw new Error(`--upstream: got "${url}", want an address without ? and #`);
  return `${parsed.origin}${parsed.pathname.replace(/\/+$/, "")}`;
}
