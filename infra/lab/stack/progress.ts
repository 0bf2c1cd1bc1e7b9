import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";

/** Tells an update's progress in lines: what was done, to what, how long it took, and what long steps wait for. */
export class UpdateProgress {
  readonly #say: (line: string) => void;
  readonly #now: () => number;
  readonly #begun = new Map<string, number>();
  readonly #lastStatus = new Map<string, string>();
  readonly #errors: string[] = [];

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
    else if (this.#lastStatus.get(event.urn ?? "") !== text) {
      this.#lastStatus.set(event.urn ?? "", text);
      if (event.ephemeral) this.#say(`  ${subject}${text}`);
    }
  }

  #took(urn: string): string {
    const begun = this.#begun.get(urn);
    return begun === undefined ? "" : `${((this.#now() - begun) / 1000).toFixed(1)} s`;
  }
}

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
