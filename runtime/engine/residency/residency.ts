import { Fault } from "../../core/fault.ts";
import type { Logger } from "../../support/log.ts";
import type { Backend, LoadedModel } from "../backend.ts";
import { Entry, type Lease } from "./entry.ts";
import { Keeper } from "./keeper.ts";
import { holdCopy, waitFor } from "./lease.ts";
import { type ResidencyOptions, type ResidencyRules, USUAL_RULES } from "./rules.ts";
import type { ModelStatus } from "./status.ts";

export type { Lease } from "./entry.ts";

/** How a model is asked for. */
export interface LeaseOptions {
  /** How long it stays in memory after the last token of this request, ms; `Infinity` is for ever. Absent: as the engine is set. */
  keepAliveMs?: number;
  /** Longest wait for a load, ms; 0 waits for none. Absent: as the engine is set. */
  waitMs?: number;
  /** Ends the wait. */
  signal?: AbortSignal;
}

/** The models of one engine and which of them are in memory. However many ask for a model, it is loaded once. */
export class Residency {
  readonly #backend: Backend;
  readonly #keeper: Keeper;
  readonly #options: ResidencyOptions;

  constructor(backend: Backend, log: Logger, options: ResidencyOptions = {}) {
    this.#backend = backend;
    this.#options = options;
    this.#keeper = new Keeper(backend, log, options);
  }

  /** Other rules from now on. */
  configure(rules: Partial<ResidencyRules>): void {
    const before = this.#keeper.rules;
    this.#keeper.rules = { ...USUAL_RULES, ...rules };
    for (const { copies } of this.#keeper.entries.values()) {
      for (const copy of copies) {
        if (copy.keepAliveMs === before.keepAliveMs) copy.keepAliveMs = this.#keeper.rules.keepAliveMs;
        // What did not fit may fit now.
        if (copy.notBeforeMs === Number.POSITIVE_INFINITY) copy.notBeforeMs = 0;
      }
    }
    this.#keeper.tick();
  }

  /** Memory for all models together, bytes. */
  get budgetBytes(): number {
    return this.#keeper.budgetBytes;
  }

  /**
   * Makes a name known, without a look at its files. @param required whether the engine's readiness waits for it; it then is loaded at once
   */
  register(name: string, required = false): void {
    const known = this.#keeper.entries.get(name);
    const entry = known ?? new Entry(name, this.#keeper.rules.keepAliveMs, required);
    this.#keeper.entries.set(name, entry);
    entry.required = required;
    // What is told of it meanwhile; a file that cannot be read is told of when it is loaded.
    if (known === undefined)
      this.#backend.library.facts(name).then(
        (facts) => void (entry.facts ??= facts),
        () => undefined,
      );
    if (!required || entry.current.phase !== "absent") return;
    entry.current.wanted = true;
    entry.current.beganMs = this.#keeper.clock.nowMs();
    this.#keeper.tick();
  }

  /** Makes a name known, and where its weights are other ones than those in memory, swaps them. */
  async add(name: string): Promise<void> {
    const entry = this.#keeper.entries.get(name);
    if (entry === undefined) this.register(name);
    await this.refresh(name);
  }

  /** Looks at a model's facts again; where its weights are other ones than those in memory, they are swapped. @param force swaps in any case */
  async refresh(name: string, force = false): Promise<void> {
    const entry = this.#entry(name);
    const facts = await this.#backend.library.facts(entry.name);
    entry.facts = facts;
    const { current, next } = entry;
    entry.failure = undefined;
    if (current.phase !== "ready") {
      Object.assign(current, { notBeforeMs: 0, sized: current.phase === "absent" ? "no" : current.sized });
      this.#keeper.tick();
      return;
    }
    // A local file that was changed has no digest before it is read whole.
    const same = facts?.digest === (next ?? current).facts?.digest;
    if (facts === undefined || (same && !force)) return;
    this.#keeper.swap(entry, facts);
  }

  /** Takes a name away: who uses the model ends what runs, then it is unloaded. Does nothing for a name that is not known. */
  remove(name: string): void {
    const entry = this.#keeper.entries.get(this.resolve(name) ?? name);
    if (entry === undefined) return;
    this.#keeper.entries.delete(entry.name);
    if (entry.copies.some(({ phase }) => phase !== "absent")) this.#keeper.removed.add(entry);
    for (const waiter of entry.waiters) waiter.fail(unknown(name));
    entry.next?.stop.abort(new Fault("cancelled", "the model was removed"));
    entry.current.stop.abort(new Fault("cancelled", "the model was removed"));
    entry.current.retired = true;
    entry.current.wanted = false;
    this.#keeper.tick();
    this.#options.changed?.();
  }

  /** The name under which a model is known here: as given, or with `:latest`. Undefined when there is none. */
  resolve(name: string): string | undefined {
    return [name, `${name}:latest`].find((one) => this.#keeper.entries.has(one));
  }

  /** All models, in the order in which they were added. */
  list(): ModelStatus[] {
    return [...this.#keeper.entries.values()].map((entry) =>
      entry.status(this.#keeper.clock.nowMs(), this.#keeper.clock.wallMs()),
    );
  }

  /** One model. @throws Fault unknown_model */
  status(name: string): ModelStatus {
    return this.#entry(name).status(this.#keeper.clock.nowMs(), this.#keeper.clock.wallMs());
  }

  /** Loads a model unless it is in memory; callers at the same time share one load. @throws Fault unknown_model, model_failed */
  async load(name: string): Promise<LoadedModel> {
    const entry = this.#entry(name);
    if (entry.current.phase === "absent" && entry.failure !== undefined) entry.current.notBeforeMs = 0;
    const take = (): LoadedModel => {
      if (entry.current.loaded === undefined) throw entry.notReady(this.#keeper.clock.nowMs());
      return entry.current.loaded;
    };
    return entry.current.open ? take() : await waitFor(this.#keeper, entry, Number.POSITIVE_INFINITY, take);
  }

  /**
   * Takes a ready model for one generation; call `release` when it is over.
   * A model that is absent starts to load. @throws Fault model_loading with Retry-After until it is ready; model_failed, unknown_model
   */
  acquire(name: string, { keepAliveMs }: LeaseOptions = {}): Lease {
    if (this.#keeper.closed) throw new Fault("draining", "the engine is stopping");
    const entry = this.#entry(name);
    this.#options.used?.(entry.name, entry.current.open);
    const nowMs = this.#keeper.clock.nowMs();
    if (!entry.current.open) {
      entry.told(nowMs, nowMs);
      this.#keeper.tick();
      if (!entry.current.open) throw entry.notReady(nowMs);
    }
    return holdCopy(this.#keeper, entry, entry.current, keepAliveMs);
  }

  /**
   * Takes a model for one generation, and waits for its load as long as told.
   * @throws Fault model_loading with Retry-After when the wait is over, model_failed, unknown_model, cancelled
   */
  async lease(name: string, options: LeaseOptions = {}): Promise<Lease> {
    const entry = this.#entry(name);
    this.#options.used?.(entry.name, entry.current.open);
    const state = entry.state(this.#keeper.clock.nowMs());
    const starts = entry.required && !entry.proven;
    const waitMs = options.waitMs ?? (starts ? 0 : this.#keeper.rules.waitMs);
    const waits = !entry.current.open && (state.state !== "failed" || state.retryMs === 0) && waitMs > 0;
    const take = (): Lease => this.acquire(name, options);
    return waits && !this.#keeper.closed ? await waitFor(this.#keeper, entry, waitMs, take, options.signal) : take();
  }

  /** How long a model stays in memory from now on when nobody asks it, ms; 0 lets it go as soon as nobody does. @throws Fault unknown_model */
  keep(name: string, keepAliveMs: number): void {
    const { current } = this.#entry(name);
    Object.assign(current, { keepAliveMs, lastTokenMs: this.#keeper.clock.nowMs(), heldUntilMs: 0 });
    this.#keeper.tick();
  }

  /** Wants a model in memory until then, as far as there is room that nobody has. @param untilMs on the clock of the residency. @returns whether it was not there */
  preload(name: string, untilMs: number): boolean {
    const entry = this.#keeper.entries.get(name);
    if (entry === undefined || entry.failure !== undefined) return false;
    entry.current.heldUntilMs = Math.max(entry.current.heldUntilMs, untilMs);
    if (entry.current.phase !== "absent" || entry.current.wanted) return false;
    entry.current.wanted = true;
    entry.current.beganMs = this.#keeper.clock.nowMs();
    this.#keeper.tick();
    return true;
  }

  /** Takes a model out of memory. Does nothing while a generation runs, or when it is not in memory; says whether it did. */
  async unload(name: string): Promise<boolean> {
    const entry = this.#entry(name);
    const { current } = entry;
    if (current.phase !== "ready" || current.inFlight > 0) return false;
    await this.#keeper.unload(entry, current, "idle");
    return true;
  }

  /** Stops loads and frees all memory. */
  close(): Promise<void> {
    return this.#keeper.close();
  }

  #entry(name: string): Entry {
    const entry = this.#keeper.entries.get(this.resolve(name) ?? name);
    if (entry === undefined) throw unknown(name);
    return entry;
  }
}

function unknown(name: string): Fault {
  return new Fault("unknown_model", `model '${name}' not found, try pulling it first`);
}
