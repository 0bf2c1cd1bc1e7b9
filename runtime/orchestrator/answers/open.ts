import { Counter, Gauge, type Registry } from "prom-client";
import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import { monotonicMs } from "../../support/clock.ts";
import type { SharedRedis } from "../redis.ts";
import { AnswerCache, CACHE_RESULTS } from "./answer-cache.ts";
import { MemoryShelf, RedisShelf } from "./shelf.ts";

/** The answer cache of a configuration; undefined when it is off. @throws Error when it wants a Redis and none is named */
export function openAnswers(
  config: EnsembleConfig,
  registry: Registry,
  redis: SharedRedis | undefined,
): AnswerCache | undefined {
  const { store, ttlMs, memoryBytes } = config.cache;
  if (store === "off") return undefined;
  const results = new Counter({
    name: "gorkheavy_cache_total",
    help: "Questions by what the answer cache did: hit, shared with the same question in work, miss, or bypass by the client's wish",
    labelNames: ["result"],
    registers: [registry],
  });
  for (const result of CACHE_RESULTS) results.inc({ result }, 0);
  if (store === "redis" && redis === undefined)
    throw new Error("cache.store: got redis, but there is no redis section; name one, or give memory");
  const memory = new MemoryShelf({ mostBytes: memoryBytes, ttlMs }, monotonicMs);
  if (store === "memory") {
    new Gauge({
      name: "gorkheavy_cache_bytes",
      help: "About what the answer cache keeps in the process",
      registers: [registry],
      collect() {
        this.set(memory.bytes);
      },
    });
  }
  const shelf = store === "redis" && redis !== undefined ? new RedisShelf(redis, ttlMs) : memory;
  return new AnswerCache({ shelf, config, count: (result) => results.inc({ result }) });
}
