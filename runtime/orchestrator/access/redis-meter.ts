import { z } from "zod";
import type { SharedRedis } from "../redis.ts";
import { allowanceOf, type Limits, type Meter, secondsToMidnight, type Verdict } from "./meter.ts";

/**
 * Takes one request of a subject, in one step and on Redis' own clock, so that no replica's clock matters. The same rule as in `MemoryMeter`.
 * KEYS: the bucket, the day's tokens. ARGV: requests a minute or 0, tokens a day or 0.
 * Returns what is: 1 taken, 0 no requests left, -1 no tokens left; ms until the bucket is full; ms until the next request.
 */
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rate, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if most > 0 and tonumber(redis.call('GET', KEYS[2]) or '0') >= most then return {-1, 0, 0} end
if rate == 0 then return {1, 0, 0} end
local each = 60000 / rate
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + each
local over = full - now - 60000
if over > 0.5 then return {0, math.ceil(full - each - now), math.ceil(over)} end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now) + 1000)
return {1, math.ceil(full - now), 0}
`;

const Taken = z.tuple([z.number(), z.number(), z.number()]);

/** Seconds that a day's count is kept: a day, and a little. */
const KEEP_SECONDS = 90_000;

/** Counts in Redis, for all replicas together; while it is away each counts for itself. */
export class RedisMeter implements Meter {
  readonly #redis: SharedRedis;
  readonly #own: Meter;
  readonly #now: () => number;

  /** @param own counts while Redis is away, and the tokens always. @param now time of day, ms */
  constructor(redis: SharedRedis, own: Meter, now: () => number = Date.now) {
    this.#redis = redis;
    this.#own = own;
    this.#now = now;
  }

  async take(subject: string, limits: Limits): Promise<Verdict> {
    const { requestsPerMinute = 0, tokensPerDay = 0 } = limits;
    const said = await this.#redis.use(async (client) =>
      Taken.parse(
        await client.eval(
          TAKE,
          2,
          this.#key("requests", subject),
          this.#dayKey(subject),
          requestsPerMinute,
          tokensPerDay,
        ),
      ),
    );
    if (said === undefined) return this.#own.take(subject, limits);
    const [what, untilFullMs, waitMs] = said;
    if (what === -1) return { ok: false, of: "tokens", retrySeconds: secondsToMidnight(this.#now()) };
    if (requestsPerMinute === 0) return { ok: true };
    const allowance = allowanceOf(requestsPerMinute, untilFullMs);
    if (what === 1) return { ok: true, allowance };
    return { ok: false, of: "requests", retrySeconds: Math.max(1, Math.ceil(waitMs / 1000)), allowance };
  }

  spend(subject: string, tokens: number): void {
    if (!(tokens > 0)) return;
    this.#own.spend(subject, tokens);
    const key = this.#dayKey(subject);
    void this.#redis.use((client) => client.pipeline().incrby(key, Math.ceil(tokens)).expire(key, KEEP_SECONDS).exec());
  }

  #key(of: string, subject: string): string {
    return `${this.#redis.prefix}${of}:${subject}`;
  }

  #dayKey(subject: string): string {
    return this.#key(`tokens:${new Date(this.#now()).toISOString().slice(0, 10)}`, subject);
  }
}
