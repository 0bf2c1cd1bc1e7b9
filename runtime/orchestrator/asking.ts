import type { AskAnswer, AskEvent, AskRequest } from "../contracts/native.ts";
import { type Fault, toFault } from "../core/fault.ts";
import { replay } from "./api/asked.ts";
import { errorOf } from "./api/native-error.ts";
import type { AskInput, Ensemble } from "./ensemble.ts";
import type { Grant } from "./horn/guard.ts";
import { Journal } from "./journal.ts";

/**
 * Asks, and tells of all that happens as events: stages as they begin and end, the decision, the winner's words, and the whole answer or
 * the error at last.
 * @param input the question, or what finds out whether and how it may be asked. Its failure is the question's
 */
export async function askEvents(
  ensemble: Ensemble,
  input: AskInput | (() => Promise<AskInput>),
  signal: AbortSignal,
  emit: (event: AskEvent) => void,
): Promise<void> {
  let told = false;
  const tell = ({ reply }: AskAnswer): void => {
    if (told) return;
    told = true;
    for (const text of replay(reply)) emit({ event: "text", text });
  };
  let last: AskEvent;
  try {
    const asked = typeof input === "function" ? await input() : input;
    const answer = await ensemble.ask(asked, signal, emit, tell);
    tell(answer);
    last = { event: "answer", answer };
  } catch (error) {
    last = { event: "error", error: errorOf(toFault(error)) };
  }
  emit(last);
}

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
    const emit = (event: AskEvent): void => {
      this.journal.add(event);
      this.#over = event.event === "answer" || event.event === "error";
      more();
    };
    const granted = async (): Promise<AskInput> => ({ ...request, ...(await grant?.()) });
    void askEvents(ensemble, grant === undefined ? request : granted, this.#stop.signal, emit);
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
