import type { Redis } from "ioredis";
import { Gauge, type Registry } from "prom-client";
import type { RedisConfig } from "../contracts/redis-config.ts";
import type { Logger } from "../support/log.ts";

/** Longest wait between two tries to reach it, ms. */
const RETRY_MS = 5_000;
/** Time for a connection, ms. */
const CONNECT_MS = 2_000;

/** A Redis that may be away: every use of it has a way to go on without. */
export class SharedRedis {
  readonly prefix: string;
  readonly #url: string;
  readonly #commandMs: number;
  readonly #log: Pick<Logger, "info" | "warn">;
  #client: Promise<Redis> | undefined;
  #down = false;

  /** @throws Error when the variable that should hold the address is not set */
  constructor(
    config: RedisConfig,
    env: Readonly<Record<string, string | undefined>>,
    log: Pick<Logger, "info" | "warn">,
  ) {
    this.prefix = config.prefix;
    this.#commandMs = config.commandMs;
    this.#log = log;
    const url = config.urlEnv === undefined ? config.url : env[config.urlEnv];
    if (url === undefined || url === "")
      throw new Error(
        `redis.urlEnv: the environment variable ${config.urlEnv ?? ""} is not set; set it, or leave the field out`,
      );
    if (!/^(rediss?|unix):\/\//.test(url))
      throw new Error(
        "redis: the address that the environment variable holds begins with none of redis://, rediss:// and unix://",
      );
    this.#url = url;
  }

  /** Whether the last use of it failed. */
  get down(): boolean {
    return this.#down;
  }

  /** Does something with it. @returns undefined when it is away or too slow; that is logged once, until it is back */
  async use<T>(what: (client: Redis) => Promise<T>): Promise<T | undefined> {
    try {
      const client = await (this.#client ??= this.#connect());
      const result = await what(client);
      if (this.#down) this.#log.info("redis is back");
      this.#down = false;
      return result;
    } catch (error) {
      // Of the error only its name: its text may hold the address, password included.
      const why = error instanceof Error ? ("code" in error ? String(error.code) : error.name) : "failed";
      if (!this.#down)
        this.#log.warn(
          { why },
          "redis does not answer: limits and cached answers are this process' own until it is back",
        );
      this.#down = true;
      return undefined;
    }
  }

  /** Connects, so that the first use need not wait for it. Never fails. */
  async warm(): Promise<void> {
    await this.use((client) => client.ping());
  }

  /** Breaks the connection. */
  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    client?.disconnect();
  }

  /** Loaded only here: a service without it does not pay for the library. */
  async #connect(): Promise<Redis> {
    const { Redis } = await import("ioredis");
    const options = {
      connectTimeout: CONNECT_MS,
      commandTimeout: this.#commandMs,
      maxRetriesPerRequest: 0,
      // A request does not wait for a Redis that is away.
      enableOfflineQueue: false,
      lazyConnect: true,
      retryStrategy: (times: number) => Math.min(RETRY_MS, times * 100),
    };
    const client = this.#url.startsWith("unix://")
      ? new Redis({ ...options, path: this.#url.slice("unix://".length) })
      : new Redis(this.#url, options);
    // Each failure is told by the command that it hit.
    client.on("error", () => undefined);
    await client.connect().catch(() => undefined);
    return client;
  }
}

/** Shows in the figures whether it is away. */
export function showRedis(redis: SharedRedis, registry: Registry): void {
  new Gauge({
    name: "gorkheavy_redis_down",
    help: "1 while Redis does not answer, and limits and kept answers are this process' own",
    registers: [registry],
    collect() {
      this.set(redis.down ? 1 : 0);
    },
  });
}
