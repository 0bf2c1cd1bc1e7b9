import { Fault } from "../../core/fault.ts";
import type { Logger } from "../../support/log.ts";
import type { Backend, LoadedModel } from "../backend.ts";
import type { ModelFacts } from "../library.ts";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { COMES_BACK_MS, type Entry, LiveCopy } from "./entry.ts";
import { gib, loadAndWarm, pauseMs, tooLarge } from "./loading.ts";
import { planFor, type UnloadReason } from "./policy.ts";
import { type ResidencyOptions, type ResidencyRules, USUAL_RULES } from "./rules.ts";

/** A copy that served so long before it was lost is not in a row of failures, ms. */
const STEADY_MS = 60_000;

/** Carries out what the policy decides: loads, unloads, and those who wait for it. */
export class Keeper {
  readonly entries = new Map<string, Entry>();
  /** Entries whose name was taken away, until their copies are gone. */
  readonly removed = new Set<Entry>();
  readonly clock: Clock;
  rules: ResidencyRules;
  closed = false;
  readonly #backend: Backend;
  readonly #log: Logger;
  readonly #options: ResidencyOptions;
  /** Memory that weights really took, by digest. */
  readonly #measured = new Map<string, number>();
  #wake: () => void = () => undefined;
  #ticking = false;
  #again = false;

  constructor(backend: Backend, log: Logger, options: ResidencyOptions) {
    this.#backend = backend;
    this.#log = log;
    this.#options = options;
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.rules = { ...USUAL_RULES, ...options.rules };
  }

  /** Memory for all models together, bytes. */
  get budgetBytes(): number {
    return Math.min(this.rules.memoryBytes ?? Number.POSITIVE_INFINITY, this.#limitBytes);
  }

  get #limitBytes(): number {
    return this.#options.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** A further copy of a model, not yet in memory. */
  copy(name: string): LiveCopy {
    return Object.assign(new LiveCopy(name, this.rules.keepAliveMs), { beganMs: this.clock.nowMs() });
  }

  /** Stops loads and frees all memory. */
  async close(): Promise<void> {
    this.closed = true;
    this.#wake();
    const stopping = new Fault("draining", "the engine is stopping");
    const all = [...this.entries.values(), ...this.removed];
    for (const { waiters } of all) for (const waiter of waiters) waiter.fail(stopping);
    await Promise.allSettled(
      all.flatMap(({ copies }) =>
        copies.map(async (copy) => {
          copy.stop.abort(stopping);
          await copy.gone;
          await copy.loaded?.unload();
        }),
      ),
    );
  }

  /** Brings memory in line with what the policy says, and looks again when it says so. */
  tick(): void {
    if (this.closed) return;
    this.#again = this.#ticking;
    if (this.#ticking) return;
    this.#ticking = true;
    try {
      do {
        this.#again = false;
        this.#step();
      } while (this.#again);
    } finally {
      this.#ticking = false;
    }
  }

  #step(): void {
    const nowMs = this.clock.nowMs();
    const all = [...this.entries.values(), ...this.removed];
    for (const entry of all) {
      entry.current.askedSinceMs = entry.askedSinceMs(nowMs);
      for (const copy of entry.copies) this.#size(entry, copy, nowMs);
    }
    const owner = new Map(all.flatMap((entry) => entry.copies.map((copy) => [copy.id, { entry, copy }] as const)));
    const copies = [...owner.values()]
      .map(({ copy }) => copy)
      .filter(({ phase, sized, notBeforeMs }) => phase !== "absent" || sized === "yes" || notBeforeMs > nowMs);
    const plan = planFor(copies, { ...this.rules, budgetBytes: this.budgetBytes }, nowMs);
    for (const { entry, copy } of owner.values()) {
      const opened = copy.closed && !plan.closed.has(copy.id);
      if (!copy.closed && plan.closed.has(copy.id))
        this.#log.info({ model: copy.name }, "model makes room for one that waited");
      copy.closed = plan.closed.has(copy.id);
      if (opened) this.#grant(entry);
    }
    const each = (ids: readonly number[], act: (entry: Entry, copy: LiveCopy) => void): void => {
      for (const id of ids) {
        const found = owner.get(id);
        if (found !== undefined) act(found.entry, found.copy);
      }
    };
    each(plan.refused, (entry, copy) => this.#refuse(entry, copy));
    each(plan.replaceFirst, (entry, copy) => this.#replaceFirst(entry, copy));
    each(plan.noRoom, (entry, copy) => {
      copy.wanted = false;
      if (!entry.required) return;
      entry.required = false;
      this.#log.warn(
        { model: entry.name, need: gib(copy.bytes), budget: gib(this.budgetBytes) },
        "no room beside the others: it is loaded when it is asked for",
      );
      this.#options.changed?.();
    });
    for (const { id, why } of plan.unload) each([id], (entry, copy) => void this.unload(entry, copy, why));
    each(plan.load, (entry, copy) => void this.#load(entry, copy));
    this.#wake();
    this.#wake =
      plan.lookAgainMs === Number.POSITIVE_INFINITY
        ? () => undefined
        : this.clock.after(Math.max(0, plan.lookAgainMs - nowMs), () => this.tick());
  }

  /** Learns how much memory a wished copy takes, before it is loaded. */
  #size(entry: Entry, copy: LiveCopy, nowMs: number): void {
    const wished = copy.askedSinceMs !== undefined || copy.wanted;
    if (copy.phase !== "absent" || copy.sized !== "no" || !wished || copy.notBeforeMs > nowMs) return;
    copy.sized = "asked";
    this.#backend.library.facts(entry.name).then(
      (facts) => {
        copy.sized = "yes";
        if (facts === undefined) {
          this.#failed(
            entry,
            copy,
            new Fault("unknown_model", `model '${entry.name}' not found, try pulling it first`),
          );
          return;
        }
        entry.facts = facts;
        const needBytes = this.#backend.needsBytes?.(facts) ?? 0;
        copy.bytes = (facts.digest === undefined ? undefined : this.#measured.get(facts.digest)) ?? needBytes;
        this.tick();
      },
      (error: unknown) => this.#failed(entry, copy, error),
    );
  }

  async #load(entry: Entry, copy: LiveCopy): Promise<void> {
    copy.phase = "loading";
    copy.beganMs = this.clock.nowMs();
    const update = copy.replaces !== undefined || entry.lost;
    const over = this.#options.activity?.(update ? "Update Required" : "Load Changes", entry.name);
    const progress = (ratio: number): void => {
      copy.progress = ratio;
    };
    copy.gone = loadAndWarm(this.#backend, entry.name, progress, copy.stop.signal)
      .then((loaded) => this.#loaded(entry, copy, loaded))
      .catch((error: unknown) => this.#failed(entry, copy, error))
      .finally(() => over?.());
    await copy.gone;
  }

  async #loaded(entry: Entry, copy: LiveCopy, loaded: LoadedModel): Promise<void> {
    copy.loaded = loaded;
    const facts = await this.#backend.library.facts(entry.name);
    const digest = loaded.digest ?? facts?.digest;
    if (this.#backend.needsBytes !== undefined) {
      copy.bytes = loaded.memoryBytes;
      if (digest !== undefined) this.#measured.set(digest, copy.bytes);
    }
    if (copy.stop.signal.aborted || copy.retired || copy.bytes > this.budgetBytes) {
      copy.loaded = undefined;
      await loaded.unload();
      if (copy.bytes > this.budgetBytes) this.#refuse(entry, copy);
      else throw copy.stop.signal.reason ?? new Error("it is no longer wanted");
      return;
    }
    const nowMs = this.clock.nowMs();
    const known = facts ?? entry.facts;
    copy.facts = known === undefined ? undefined : { ...known, ...(digest === undefined ? {} : { digest }) };
    Object.assign(copy, {
      phase: "ready",
      wanted: false,
      readySinceMs: nowMs,
      lastTokenMs: nowMs,
      loadMs: nowMs - copy.beganMs,
    });
    void loaded.gone?.then((reason) => this.#lost(entry, copy, reason));
    if (entry.next === copy) {
      const old = entry.current;
      old.retired = true;
      entry.leaving.push(old);
      entry.current = copy;
      entry.next = undefined;
    }
    Object.assign(entry, { proven: true, lost: false, failure: undefined, facts: copy.facts });
    entry.loads++;
    // Who was told to come back finds it, however short it is kept otherwise.
    if (entry.waiters.size === 0 && entry.comesBack !== undefined) copy.heldUntilMs = nowMs + COMES_BACK_MS;
    entry.comesBack = undefined;
    const memory = gib(loaded.memoryBytes);
    this.#log.info(
      { model: entry.name, digest: digest?.slice(0, 12), loadMs: Math.round(copy.loadMs), memory },
      "model ready",
    );
    this.#grant(entry);
    // The name may have got other weights while these were read.
    if (facts?.digest !== undefined && facts.digest !== copy.facts?.digest) this.swap(entry, facts);
    this.tick();
    this.#options.changed?.();
  }

  /** Begins to load a new version beside the one that serves; it takes its place when it is ready. */
  swap(entry: Entry, facts: ModelFacts): void {
    const { current, next } = entry;
    next?.stop.abort(new Fault("cancelled", "a still newer version came"));
    const { keepAliveMs, id: replaces } = current;
    entry.next = Object.assign(this.copy(entry.name), { wanted: true, facts, replaces, keepAliveMs });
    this.tick();
  }

  /** A load that did not succeed: who waits is told, and it is tried again after a pause where the engine itself wants it. */
  #failed(entry: Entry, copy: LiveCopy, error: unknown): void {
    if (this.closed || copy.stop.signal.aborted) {
      this.#drop(entry, copy);
      return;
    }
    const reason = error instanceof Error ? error.message : "the backend gave no reason";
    this.#log.error({ model: entry.name, err: error }, "model failed to load");
    entry.failures++;
    const again = this.copy(entry.name);
    again.wanted = copy.wanted || entry.required;
    again.replaces = copy.replaces;
    again.notBeforeMs = this.clock.nowMs() + pauseMs(entry.failures);
    if (entry.next === copy) entry.next = again;
    else this.#fail(entry, again, reason, error);
    this.tick();
  }

  /** Gives up on the current copy: those who wait are told, `again` takes its place. */
  #fail(entry: Entry, again: LiveCopy, reason: string, cause?: unknown): void {
    entry.failure = reason;
    entry.current = again;
    entry.comesBack = undefined;
    const code =
      cause instanceof Fault && ["unknown_model", "model_too_large"].includes(cause.code) ? cause.code : "model_failed";
    const words = code === "model_failed" ? `${entry.name} failed to load: ${reason}` : reason;
    for (const waiter of entry.waiters) waiter.fail(new Fault(code, words, { cause }));
    this.#options.changed?.();
  }

  /** A copy that never fits. A new version that does not is given up, and the old one goes on. */
  #refuse(entry: Entry, copy: LiveCopy): void {
    const reason =
      copy.bytes > this.budgetBytes
        ? tooLarge(entry.name, copy.bytes, this.budgetBytes, this.#limitBytes)
        : `${entry.name}: no room for a new version of ${gib(copy.bytes)} beside the old one in ${gib(this.budgetBytes)}, and residency.replaceWithoutRoom is off`;
    this.#log.error({ model: entry.name, needBytes: copy.bytes, budgetBytes: this.budgetBytes }, reason);
    if (entry.next === copy) {
      entry.next = undefined;
      return;
    }
    const again = this.copy(entry.name);
    again.notBeforeMs = Number.POSITIVE_INFINITY;
    this.#fail(entry, again, reason, new Fault("model_too_large", reason));
  }

  /** There is no room for two versions: the old one ends what runs and goes before the new one is loaded. Requests wait meanwhile. */
  #replaceFirst(entry: Entry, copy: LiveCopy): void {
    this.#log.warn(
      { model: entry.name, need: gib(copy.bytes), budget: gib(this.budgetBytes) },
      "no room for both versions: the old one is unloaded before the new one is loaded",
    );
    entry.current.retired = true;
    entry.leaving.push(entry.current);
    entry.current = copy;
    entry.next = undefined;
    copy.replaces = undefined;
    entry.told(this.clock.nowMs(), this.clock.nowMs());
    this.#again = true;
  }

  /** Takes a copy out of memory. */
  async unload(entry: Entry, copy: LiveCopy, why: UnloadReason): Promise<void> {
    copy.phase = "unloading";
    if (entry.current === copy) {
      entry.current = this.copy(entry.name);
      entry.leaving.push(copy);
    }
    const over = this.#options.activity?.("Load Changes", entry.name);
    this.#log.info({ model: entry.name, why }, "model unloaded");
    try {
      await copy.loaded?.unload();
    } catch (error) {
      this.#log.error({ model: entry.name, err: error }, "model could not be unloaded cleanly");
    }
    this.#drop(entry, copy);
    over?.();
    this.tick();
    this.#options.changed?.();
  }

  /** Forgets a copy that holds no memory any more. */
  #drop(entry: Entry, copy: LiveCopy): void {
    const at = entry.leaving.indexOf(copy);
    if (at >= 0) entry.leaving.splice(at, 1);
    if (entry.next === copy) entry.next = undefined;
    if (entry.leaving.length === 0) this.removed.delete(entry);
  }

  /** A model died under its requests: they have failed, the next ones find it loading again. */
  #lost(entry: Entry, copy: LiveCopy, reason: string): void {
    if (copy.phase !== "ready" || this.closed) return;
    const steady = this.clock.nowMs() - copy.readySinceMs >= STEADY_MS;
    if (steady) entry.failures = 0;
    const pause = pauseMs(entry.failures++);
    this.#log.error({ model: entry.name, reason, pauseMs: pause }, "model lost, loading it again");
    copy.phase = "absent";
    if (entry.current !== copy) {
      this.#drop(entry, copy);
      return;
    }
    entry.lost = true;
    entry.current = Object.assign(this.copy(entry.name), { wanted: true, notBeforeMs: this.clock.nowMs() + pause });
    this.tick();
    this.#options.changed?.();
  }

  /** Lets everybody in who waits for a model that takes requests. */
  #grant(entry: Entry): void {
    if (!entry.current.open) return;
    for (const waiter of entry.waiters) waiter.grant();
  }
}
