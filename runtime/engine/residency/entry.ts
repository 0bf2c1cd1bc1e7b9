import { Fault } from "../../core/fault.ts";
import type { LoadedModel } from "../backend.ts";
import type { ModelFacts } from "../library.ts";
import type { Copy, Phase } from "./policy.ts";
import { type ModelState, type ModelStatus, retryAfter } from "./status.ts";

/** A model that is held in memory for one request. */
export interface Lease {
  readonly model: LoadedModel;
  /** A token was written: the time of being idle begins anew. */
  touch: () => void;
  /** Ends the request; the second time nothing. */
  release: () => void;
}

/** One who waits for a model. */
export interface Waiter {
  sinceMs: number;
  grant: () => void;
  fail: (fault: Fault) => void;
}

/** How long one who was told to come back is counted as waiting, ms. */
export const COMES_BACK_MS = 60_000;

let copies = 0;

/** One copy of a model's weights as the residency handles it. */
export class LiveCopy implements Copy {
  readonly id = ++copies;
  readonly name: string;
  phase: Phase = "absent";
  bytes = 0;
  inFlight = 0;
  askedSinceMs?: number | undefined;
  wanted = false;
  notBeforeMs = 0;
  readySinceMs = 0;
  lastTokenMs = 0;
  keepAliveMs: number;
  heldUntilMs = 0;
  retired = false;
  replaces?: number;
  /** Whether `bytes` is known. */
  sized: "no" | "asked" | "yes" = "no";
  /** Takes no new request for now. */
  closed = false;
  loaded?: LoadedModel;
  facts?: ModelFacts;
  progress = 0;
  beganMs = 0;
  loadMs = 0;
  /** Settles when its load is over, however it ended. Absent before one began. */
  gone?: Promise<void>;
  readonly stop = new AbortController();

  constructor(name: string, keepAliveMs: number) {
    this.name = name;
    this.keepAliveMs = keepAliveMs;
  }

  /** Whether it takes a request now. */
  get open(): boolean {
    return this.phase === "ready" && !this.closed && !this.retired;
  }
}

/** One model by name. */
export class Entry {
  readonly name: string;
  facts?: ModelFacts;
  /** The copy that serves, or will. */
  current: LiveCopy;
  /** A newer version on its way. */
  next?: LiveCopy;
  /** Copies that still end what they began, or are being unloaded. */
  readonly leaving: LiveCopy[] = [];
  readonly waiters = new Set<Waiter>();
  /** Who was told to come back: since when, and until when that counts. */
  comesBack?: { sinceMs: number; untilMs: number };
  /** Loads that failed, and losses, one after the other. */
  failures = 0;
  failure?: string;
  proven = false;
  /** Whether it was lost and has not come back. */
  lost = false;
  required: boolean;
  loads = 0;

  constructor(name: string, keepAliveMs: number, required: boolean) {
    this.name = name;
    this.required = required;
    this.current = new LiveCopy(name, keepAliveMs);
  }

  /** All copies. */
  get copies(): LiveCopy[] {
    return [this.current, ...(this.next === undefined ? [] : [this.next]), ...this.leaving];
  }

  /** Since when somebody waits, by those who do and those who come back. */
  askedSinceMs(nowMs: number): number | undefined {
    const back = this.comesBack !== undefined && nowMs < this.comesBack.untilMs ? [this.comesBack.sinceMs] : [];
    const since = [...[...this.waiters].map(({ sinceMs }) => sinceMs), ...back];
    return since.length === 0 ? undefined : Math.min(...since);
  }

  /** Counts one who was told to come back. */
  told(sinceMs: number, nowMs: number): void {
    const earlier = this.comesBack !== undefined && nowMs < this.comesBack.untilMs ? this.comesBack.sinceMs : sinceMs;
    this.comesBack = { sinceMs: Math.min(earlier, sinceMs), untilMs: nowMs + COMES_BACK_MS };
  }

  state(nowMs: number): ModelState {
    const { current, next, failure } = this;
    const coming = current.phase === "loading" || next === undefined || current.phase === "ready" ? current : next;
    if (current.phase === "ready") return { state: "ready", loadMs: current.loadMs };
    if (coming.phase === "loading") return { state: "loading", progress: coming.progress, sinceMs: coming.beganMs };
    const sinceMs = this.askedSinceMs(nowMs) ?? (coming.wanted ? coming.beganMs : undefined);
    if (failure !== undefined && (nowMs < coming.notBeforeMs || sinceMs === undefined)) {
      const retryMs = Math.max(0, coming.notBeforeMs - nowMs);
      return { state: "failed", reason: failure, ...(Number.isFinite(retryMs) ? { retryMs } : {}) };
    }
    return sinceMs === undefined ? { state: "absent" } : { state: "loading", progress: 0, sinceMs, queued: true };
  }

  status(nowMs: number, wallMs: number): ModelStatus {
    const { current, next } = this;
    const inMemory = current.phase === "ready";
    const expiresInMs = Math.max(current.lastTokenMs + current.keepAliveMs, current.heldUntilMs) - nowMs;
    return {
      name: this.name,
      facts: current.facts ?? this.facts,
      status: this.state(nowMs),
      memoryBytes: inMemory ? (current.loaded?.memoryBytes ?? 0) : 0,
      inFlight: this.copies.reduce((sum, copy) => sum + copy.inFlight, 0),
      waiting: this.waiters.size,
      proven: this.proven,
      required: this.required,
      ...(inMemory && Number.isFinite(expiresInMs) ? { expiresAtMs: wallMs + expiresInMs } : {}),
      ...(inMemory && next !== undefined ? { swap: { progress: next.progress } } : {}),
      loads: this.loads,
    };
  }

  /** The fault of a model that cannot answer yet: its state, progress and a time to come back. */
  notReady(nowMs: number): Fault {
    const state = this.state(nowMs);
    if (state.state === "failed") {
      return new Fault("model_failed", `${this.name} failed to load: ${state.reason}`, {
        retryAfterSeconds: retryAfter(state, nowMs),
      });
    }
    const progress = state.state === "loading" ? Math.floor(state.progress * 100) : 0;
    const words = this.current.closed
      ? "makes room for another model that waited too long"
      : state.state === "loading" && state.queued === true
        ? "waits for its turn to be loaded (0 %)"
        : `is loading (${progress} %)`;
    return new Fault("model_loading", `${this.name} ${words}; try again soon`, {
      retryAfterSeconds: retryAfter(state, nowMs),
    });
  }
}
