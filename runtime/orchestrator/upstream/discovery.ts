import { lookup } from "node:dns/promises";
import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault } from "../../core/fault.ts";
import { monotonicMs } from "../../support/clock.ts";

/** Addresses of a name, IPv4 and IPv6. @throws Error with a `code` of Node's DNS errors */
export type Resolve = (host: string) => Promise<readonly { address: string; family: number }[]>;

/** How long addresses are good for, ms. A name server in the cluster keeps its own answer for 5 s (CoreDNS), so looking more often finds nothing. */
const FRESH_MS = 1_000;

/** Answers of a name server that say that the name stands for nobody, unlike those that say that the server itself is away. */
const NOBODY = new Set(["ENOTFOUND", "ENODATA"]);

interface Known {
  pods: readonly string[];
  atMs: number;
  looking: Promise<readonly string[]> | undefined;
}

/** Finds the pods behind the members' names: base addresses such as `http://10.42.1.7:11434`, in a fixed order. */
export class Discovery {
  readonly #resolve: Resolve;
  readonly #now: () => number;
  readonly #waitMs: number;
  readonly #known = new Map<string, Known>();

  /** @param waitMs longest wait for a name that was never found before */
  constructor(options: { waitMs: number; resolve?: Resolve; now?: () => number }) {
    this.#resolve = options.resolve ?? ((host) => lookup(host, { all: true }));
    this.#now = options.now ?? monotonicMs;
    this.#waitMs = options.waitMs;
  }

  /**
   * Where a member can be called: its pods, or its own address where it has no name for them or that name stands for nobody. What was found is
   * used at once, and looked for again beside it when it is old: no call waits for a name server but the first. @throws Fault model_unreachable
   */
  pods(member: Member): readonly string[] | Promise<readonly string[]> {
    if (member.podsUrl === undefined) return this.#own(member);
    const known = this.#of(member.podsUrl);
    if (this.#now() - known.atMs >= FRESH_MS) this.#look(member, member.podsUrl, known);
    if (known.pods.length > 0) return known.pods;
    return this.#first(member, known);
  }

  /** A pod could not be reached: the next look must not wait. */
  doubt(member: Member): void {
    if (member.podsUrl === undefined) return;
    const known = this.#of(member.podsUrl);
    known.atMs = -Infinity;
  }

  #own(member: Member): readonly string[] {
    let own = this.#known.get(member.url);
    if (own === undefined) {
      own = { pods: [member.url], atMs: Infinity, looking: undefined };
      this.#known.set(member.url, own);
    }
    return own.pods;
  }

  #of(podsUrl: string): Known {
    let known = this.#known.get(podsUrl);
    if (known === undefined) {
      known = { pods: [], atMs: -Infinity, looking: undefined };
      this.#known.set(podsUrl, known);
    }
    return known;
  }

  #look(member: Member, podsUrl: string, known: Known): void {
    known.looking ??= this.#ask(member, podsUrl, known).finally(() => {
      known.looking = undefined;
    });
  }

  async #ask(member: Member, podsUrl: string, known: Known): Promise<readonly string[]> {
    const url = new URL(podsUrl);
    try {
      const found = await this.#resolve(url.hostname.replace(/^\[(.*)\]$/, "$1"));
      const pods = found.map(({ address, family }) => baseOf(url, address, family)).toSorted();
      known.pods = pods.length === 0 ? [member.url] : pods;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      // While the name server is away the pods are where they were.
      if (NOBODY.has(code) || known.pods.length === 0) known.pods = [member.url];
    }
    known.atMs = this.#now();
    return known.pods;
  }

  async #first(member: Member, known: Known): Promise<readonly string[]> {
    let clear = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      const handle = setTimeout(() => {
        const message = `the name of ${member.podsUrl ?? member.url} was not resolved within ${this.#waitMs} ms; see that the name server answers`;
        reject(new Fault("model_unreachable", message, { member: member.name }));
      }, this.#waitMs);
      clear = () => clearTimeout(handle);
    });
    try {
      return await Promise.race([known.looking ?? known.pods, late]);
    } finally {
      clear();
    }
  }
}

function baseOf(url: URL, address: string, family: number): string {
  const port = url.port === "" ? "" : `:${url.port}`;
  const path = url.pathname.replace(/\/+$/, "");
  return `${url.protocol}//${family === 6 ? `[${address}]` : address}${port}${path}`;
}
