import type { AskAnswer, AskRequest } from "../contracts/native.ts";
import { type Fault, toFault } from "../core/fault.ts";
import type { Watch } from "../core/pipeline.ts";
import { replay } from "./api/asked.ts";
import { errorOf } from "./api/native-error.ts";
import type { Ensemble } from "./ensemble.ts";
import type { Grant } from "./horn/guard.ts";
import { Journal } from "./journal.ts";

/** One question in work, and what has happened to it. It goes on whether anybody reads or not, until it is cancelled. */
export class Asking {
  readonly journal = new Journal();
  readonly #stop = new AbortController();
  #over = false;

  /**
   * Asks. Called once.
   * @param more called when there is something to read, at first before this returns
   * @param grant asked first whether the question may be asked, and as whom. Absent: it may
   */
  start(
    ensemble: Ensemble,
    request: Omit<AskRequest, "stream">,
    more: () => void,
    grant?: () => Grant | Promise<Grant>,
  ): void {
    let told = false;
    const tell = ({ reply }: AskAnswer): void => {
      if (told) return;
      told = true;
      for (const text of replay(reply)) {
        this.journal.add({ event: "text", text });
        more();
      }
    };
    const watch: Watch = (event) => {
      this.journal.add(event);
      more();
    };
    const asked =
      grant === undefined
        ? ensemble.ask(request, this.#stop.signal, watch, tell)
        : Promise.resolve()
            .then(() => grant())
            .then((granted) => ensemble.ask({ ...request, ...granted }, this.#stop.signal, watch, tell));
    asked
      .then((answer) => {
        tell(answer);
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
