import { advance, type Lifecycle, type LifecycleEvent } from "../core/lifecycle/reduce.ts";
import type { LifecycleReason, LifecycleState } from "../core/lifecycle/table.ts";
import type { Logger } from "../support/log.ts";

/** What an engine does while it goes on serving: more or fewer models in memory, or another version of one. */
export type Activity = "Load Changes" | "Update Required";

/** By activity: the state in which it is seen, and the reason that ends it. */
const ACTIVITIES = {
  "Load Changes": { state: "Scaling", end: "Scale Complete" },
  "Update Required": { state: "Maintenance", end: "Update Complete" },
} as const satisfies Record<Activity, { state: LifecycleState; end: LifecycleReason }>;

/** Of two activities at a time the first is shown. */
const SHOWN = ["Update Required", "Load Changes"] as const;

/** One change of state as it was. */
export interface LifecycleStep extends LifecycleEvent {
  state: LifecycleState;
  /** When, ms since 1970. */
  atMs: number;
}

/** Where an engine stands, for health answers and people. */
export interface LifecycleView {
  state: LifecycleState;
  reason: LifecycleReason;
  detail?: string;
  /** Since when, ms since 1970. */
  sinceMs: number;
  /** Requests that walk the loop of Serving now, by their own states. */
  requests: Record<"Inference" | "DTE_Process" | "Response", number>;
  /** Last changes, oldest first. */
  steps: readonly LifecycleStep[];
}

/** Changes that are remembered. */
const STEPS_KEPT = 32;

/** One request's way from Serving through the loop and back. */
export interface RequestWalk {
  /** Its first token is there: what the model says is worked on. */
  process(): void;
  /** Its last token is there. */
  respond(): void;
  /** It is over, however it ended. The second time nothing. */
  end(): void;
}

/**
 * An engine's lifecycle by the core's reducer, from its process' start. The states before Pod_Start are the operator's.
 * Requests run beside each other, so each walks the loop of Serving on its own and the engine stays where it is.
 */
export class EngineLifecycle {
  readonly #log: Logger | undefined;
  readonly #wallMs: () => number;
  readonly #activities: Record<Activity, string[]> = { "Load Changes": [], "Update Required": [] };
  readonly #requests = { Inference: 0, DTE_Process: 0, Response: 0 };
  readonly #steps: LifecycleStep[] = [];
  #at: Lifecycle = { state: "Pod_Start" };

  /** @param wallMs time of day, ms since 1970 */
  constructor(log?: Logger, wallMs: () => number = Date.now) {
    this.#log = log;
    this.#wallMs = wallMs;
    this.apply("Pod Running");
  }

  get state(): LifecycleState {
    return this.#at.state;
  }

  /** Whether what it holds may be asked: from Ready to the delete. */
  get serves(): boolean {
    return ["Ready", "Serving", "Scaling", "Maintenance"].includes(this.#at.state);
  }

  /** @throws LifecycleError when the state does not know the reason */
  apply(reason: LifecycleReason, detail?: string): void {
    this.#at = advance(this.#at, { reason, ...(detail === undefined ? {} : { detail }) });
    this.#steps.push({
      state: this.#at.state,
      reason,
      ...(detail === undefined ? {} : { detail }),
      atMs: this.#wallMs(),
    });
    if (this.#steps.length > STEPS_KEPT) this.#steps.shift();
    this.#log?.debug({ state: this.#at.state, reason, detail }, "lifecycle");
    this.#settle();
  }

  /** Begins an activity; the answer ends it. Before Serving and after the delete it is not seen. */
  begin(activity: Activity, detail: string): () => void {
    const running = this.#activities[activity];
    running.push(detail);
    this.#settle();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      running.splice(running.indexOf(detail), 1);
      this.#settle();
    };
  }

  /** A request enters the loop. */
  request(): RequestWalk {
    let at = advance({ state: "Serving" }, { reason: "API Requests" });
    const count = (by: 1 | -1): void => {
      if (at.state === "Inference" || at.state === "DTE_Process" || at.state === "Response")
        this.#requests[at.state] += by;
    };
    const go = (from: LifecycleState, reason: LifecycleReason): void => {
      if (at.state !== from) return;
      count(-1);
      at = advance(at, { reason });
      count(1);
    };
    count(1);
    return {
      process: () => go("Inference", "Cognitive Processing"),
      respond: () => {
        go("Inference", "Cognitive Processing");
        go("DTE_Process", "Enhanced Response");
      },
      end: () => {
        if (at.state !== "Serving") go(at.state, "Continue Serving");
      },
    };
  }

  view(): LifecycleView {
    const last = this.#steps.at(-1);
    return {
      state: this.#at.state,
      reason: this.#at.by?.reason ?? "Pod Running",
      ...(this.#at.by?.detail === undefined ? {} : { detail: this.#at.by.detail }),
      sinceMs: last?.atMs ?? this.#wallMs(),
      requests: { ...this.#requests },
      steps: [...this.#steps],
    };
  }

  /** Brings Serving, Scaling and Maintenance in line with what runs; each is left before another is entered. */
  #settle(): void {
    const shown = SHOWN.find((activity) => this.#activities[activity].length > 0);
    const current = SHOWN.find((activity) => ACTIVITIES[activity].state === this.#at.state);
    if (current !== undefined && current !== shown) this.apply(ACTIVITIES[current].end);
    else if (this.#at.state === "Serving" && shown !== undefined) this.apply(shown, this.#activities[shown][0]);
  }
}
