import type { AskEvent, Stage } from "../contracts/native.ts";

/** Words that one event is given at most by joining: a reader far behind gets fewer and larger ones. */
const JOINED_CHARS = 4_096;
/** What an event costs beside its texts, bytes: a guess from above. */
const EVENT_BYTES = 256;

/**
 * The events of one question in order, numbered from 1. Each is kept until it has been worked off, so that it can be given again, and
 * words that nobody was given yet are joined, so that a slow reader does not make it long.
 */
export class Journal {
  #events: AskEvent[] = [];
  /** Events at the front that were worked off and are gone. */
  #gone = 0;
  /** Number of the last event that was given to anybody; it stays as it is. */
  #given = 0;
  #bytes = 0;

  /** Number of the newest event; 0 while there is none. */
  get last(): number {
    return this.#gone + this.#events.length;
  }

  /** Number of the last event that was worked off. */
  get gone(): number {
    return this.#gone;
  }

  /** About what it holds, bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds an event. */
  add(event: AskEvent): void {
    const last = this.#events.at(-1);
    const joined = last === undefined || this.last <= this.#given ? undefined : join(last, event);
    if (joined === undefined) {
      this.#events.push(event);
      this.#bytes += bytesOf(event);
    } else {
      this.#events[this.#events.length - 1] = joined;
      this.#bytes += bytesOf(event) - EVENT_BYTES;
    }
  }

  /** Gives the event of a number; undefined when it has not happened yet, or is gone. */
  give(number: number): AskEvent | undefined {
    const event = this.#events[number - this.#gone - 1];
    if (event !== undefined && number > this.#given) this.#given = number;
    return event;
  }

  /** Forgets the events up to a number. */
  workedOff(upTo: number): void {
    const count = Math.min(upTo - this.#gone, this.#events.length);
    if (count <= 0) return;
    for (let at = 0; at < count; at++) this.#bytes -= bytesOf(this.#events[at] as AskEvent);
    this.#events = this.#events.slice(count);
    this.#gone += count;
    this.#given = Math.max(this.#given, this.#gone);
  }
}

/** Two events of words as one; undefined where they are not of the same kind and member, or too long. */
function join(before: AskEvent, after: AskEvent): AskEvent | undefined {
  if (before.event === "text" && after.event === "text" && before.text.length + after.text.length <= JOINED_CHARS)
    return { event: "text", text: before.text + after.text };
  if (
    before.event === "draft" &&
    after.event === "draft" &&
    before.member === after.member &&
    before.text.length + after.text.length <= JOINED_CHARS
  )
    return { ...before, text: before.text + after.text };
  return undefined;
}

function bytesOf(event: AskEvent): number {
  switch (event.event) {
    case "text":
    case "draft":
      return EVENT_BYTES + event.text.length;
    case "routing":
      return EVENT_BYTES + JSON.stringify(event.routing).length;
    case "stage-end":
      return EVENT_BYTES + bytesOfStage(event.stage);
    case "answer":
      return EVENT_BYTES + event.answer.reply.length + sum(event.answer.stages);
    case "error":
      return EVENT_BYTES + event.error.message.length + sum(event.error.stages ?? []);
    case "stage-start":
    case "decision":
      return EVENT_BYTES;
  }
}

function sum(stages: readonly Stage[]): number {
  return stages.reduce((bytes, stage) => bytes + bytesOfStage(stage), 0);
}

function bytesOfStage({ text, reason }: Stage): number {
  return EVENT_BYTES + text.length + (reason?.length ?? 0);
}
