import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";

/** Tells an update's progress in lines: what was done, to what, how long it took, and what long steps wait for. */
export class UpdateProgress {
  readonly #say: (line: string) => void;
  readonly #now: () => number;
  readonly #begun = new Map<string, number>();
  /** When something was last told of a resource that is being worked on, ms. */
  readonly #toldAt = new Map<string, number>();
  readonly #errors: string[] = [];

  /** @param now clock, ms */
  constructor(say: (line: string) => void, now: () => number = Date.now) {
    this.#say = say;
    this.#now = now;
  }

  /** Messages of severity `error`, in order, without colour codes. */
  get errors(): readonly string[] {
    return this.#errors;
  }

  onEvent(event: EngineEvent): void {
    const { resourcePreEvent, resOutputsEvent, diagnosticEvent } = event;
    if (resourcePreEvent) this.#begun.set(resourcePreEvent.metadata.urn, this.#now());
    if (resOutputsEvent) {
      const { urn, op, type } = resOutputsEvent.metadata;
      const verb = VERBS[op];
      if (verb !== undefined && !isComponent(type))
        this.#say(`${verb} ${nameOf(urn)} (${shortType(type)}) ${this.#took(urn)}`);
    }
    if (diagnosticEvent) this.#diagnostic(diagnosticEvent);
  }

  #diagnostic(event: NonNullable<EngineEvent["diagnosticEvent"]>): void {
    const text = plain(event.message).trim();
    if (text === "") return;
    const subject = event.urn ? `${nameOf(event.urn)}: ` : "";
    if (event.severity === "error") {
      this.#errors.push(`${subject}${text}`);
      this.#say(`error: ${subject}${text}`);
    } else if (event.severity === "warning") this.#say(`warning: ${subject}${text}`);
    else if (event.ephemeral && event.urn) this.#waiting(event.urn, `${subject}${text}`);
  }

  /** Tells what a step waits for, once it has taken a while and then now and again. */
  #waiting(urn: string, text: string): void {
    const last = this.#toldAt.get(urn) ?? this.#begun.get(urn) ?? this.#now();
    if (!this.#toldAt.has(urn)) this.#toldAt.set(urn, last);
    if (this.#now() - last < STATUS_INTERVAL_MS) return;
    this.#toldAt.set(urn, this.#now());
    this.#say(`  ${text}`);
  }

  #took(urn: string): string {
    const begun = this.#begun.get(urn);
    return begun === undefined ? "" : `${((this.#now() - begun) / 1000).toFixed(1)} s`;
  }
}

/** How often a step that takes long may say what it waits for, ms. */
const STATUS_INTERVAL_MS = 10_000;

/** Words for the engine's operations that change something; the others (`same`, `read`) are not told. */
const VERBS: Readonly<Partial<Record<string, string>>> = {
  create: "created",
  update: "updated",
  delete: "deleted",
  replace: "replaced",
  "create-replacement": "created anew",
  "delete-replaced": "deleted the old",
  import: "taken over",
};

/** Name of a resource: the last part of its URN. */
export function nameOf(urn: string): string {
  return urn.split("::").at(-1) ?? urn;
}

function isComponent(type: string): boolean {
  return type.startsWith("gorkheavy:") || type.startsWith("pulumi:");
}

function shortType(type: string): string {
  return type.split(":").at(-1) ?? type;
}

/** Text without the engine's colour directives (`<{%fg 1%}>`) and terminal escapes. */
export function plain(text: string): string {
  return text.replaceAll(/<\{%.*?%\}>/g, "").replaceAll(/\u001b\[[0-9;]*m/g, "");
}
