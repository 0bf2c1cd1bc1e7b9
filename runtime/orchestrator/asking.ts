import type { AskRequest } from "../contracts/native.ts";
import { type Fault, toFault } from "../core/fault.ts";
import { replay } from "./api/asked.ts";
import { errorOf } from "./api/native-error.ts";
import type { Ensemble } from "./ensemble.ts";
import { Journal } from "./journal.ts";

/** One question in work, and what has happened to it. It goes on whether anybody reads or not, until it is cancelled. */
export class Asking {
  readonly journal = new Journal();
  readonly #stop = new AbortController();
  #over = false;

  /** Asks. Called once. @param more called when there is something to read, at first before this returns */
  start(ensemble: Ensemble, request: Omit<AskRequest, "stream">, more: () => void): void {
    ensemble
      .ask(request, this.#stop.signal, (event) => {
        this.journal.add(event);
        more();
      })
      .then((answer) => {
        for (const text of replay(answer.reply)) {
          this.journal.add({ event: "text", text });
          more();
        }
        this.journal.add({ event: "answer", answer });
      })
      .catch((error: unknown) => this.journal.add({ event: "error", error: errorOf(toFault(error)) }))
      .finally(() => {
        this.#over = true;
        more();
      });
  }

  /** Whether its last event, `answer` or `error`, is in the journal. */
  get over(): boolean {
    return this.#over;
  }

  /** Ends it; its last event says why. Nothing happens when it is over. */
  cancel(reason: Fault): void {
    this.#stop.abort(reason);
  }
}
