import { createHash } from "node:crypto";
import { z } from "zod";
import { badParameters, failure } from "./api-error.ts";
import { readIfPresent, writeFileAtomically } from "./atomic-file.ts";

const Entry = z.record(z.string(), z.union([z.string(), z.number()]));
const RuleSetSchema = z.object({
  options: Entry,
  /** First match wins; the position is the index. */
  rules: z.array(Entry),
  aliases: z.record(z.string(), Entry),
  ipsets: z.record(z.string(), z.object({ comment: z.string().optional(), members: z.record(z.string(), Entry) })),
});

/** Settings of one firewall: of the cluster, the node, a VM, or a security group (which has rules only). */
export type RuleSet = z.output<typeof RuleSetSchema>;
/** One rule, alias or member of an IP set, by Proxmox' own names. */
export type FirewallEntry = z.output<typeof Entry>;

/** Firewall settings of a node, kept in one file. They are records: the lab filters no packets by them. */
export class Firewalls {
  readonly #path: string;
  readonly #sets: Map<string, RuleSet>;
  #written: Promise<void> = Promise.resolve();

  private constructor(path: string, sets: Map<string, RuleSet>) {
    this.#path = path;
    this.#sets = sets;
  }

  /** Reads the settings of a file; none when it is missing. @throws when the file holds something else */
  static async open(path: string): Promise<Firewalls> {
    const text = await readIfPresent(path);
    const sets = text === undefined ? {} : z.record(z.string(), RuleSetSchema).parse(JSON.parse(text));
    return new Firewalls(path, new Map(Object.entries(sets)));
  }

  /** A copy of the settings of `cluster`, `node`, `vm/100` or `group/web`; empty ones when nothing was set. */
  read(scope: string): RuleSet {
    return structuredClone(this.#sets.get(scope) ?? { options: {}, rules: [], aliases: {}, ipsets: {} });
  }

  /** Scopes that begin with a prefix and have been written. */
  scopes(prefix: string): string[] {
    return [...this.#sets.keys()].filter((scope) => scope.startsWith(prefix)).sort();
  }

  /** Changes settings and stores them. Answers what `change` answers. */
  async change<T>(scope: string, change: (set: RuleSet) => T): Promise<T> {
    const set = this.read(scope);
    const result = change(set);
    this.#sets.set(scope, set);
    await this.#save();
    return result;
  }

  /** Forgets the settings of a scope. */
  async remove(scope: string): Promise<void> {
    if (this.#sets.delete(scope)) await this.#save();
  }

  async #save(): Promise<void> {
    const text = JSON.stringify(Object.fromEntries(this.#sets), undefined, 2);
    const write = this.#written.then(() => writeFileAtomically(this.#path, text));
    this.#written = write.catch(() => undefined);
    await write;
  }
}

/** The digest that clients may send back, of anything. */
export function firewallDigest(value: unknown): string {
  return createHash("sha1").update(JSON.stringify(value)).digest("hex");
}

/** One rule. @throws ApiError 400 `no rule at position n` */
export function ruleAt(set: RuleSet, position: number): FirewallEntry {
  const rule = set.rules[position];
  if (rule === undefined) throw badParameters({ pos: `no rule at position ${position}` });
  return rule;
}

/** One of some named entries. @throws ApiError 500 `no such alias 'x'` */
export function named<T>(entries: Readonly<Record<string, T>>, name: string, kind: string): T {
  const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (entry === undefined) throw failure(`no such ${kind} '${name}'`);
  return entry;
}
