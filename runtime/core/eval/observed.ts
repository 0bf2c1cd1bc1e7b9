import type { ModelCall, Piece, Ports } from "../ports.ts";

/** A verdict that named one of the answers that the judge read. */
export interface SeenVerdict {
  /** Its place among them, from 0. */
  place: number;
  of: number;
  /** Its words, as the judge read them. */
  text: string;
}

/** Ports that write down what goes through them: every call counts, those that only feed the judge and those that are cut short among them. */
export class ObservedPorts {
  readonly ports: Ports;
  readonly verdicts: SeenVerdict[] = [];
  #calls = 0;
  #modelMs = 0;

  constructor(ports: Ports) {
    this.ports = { ...ports, now: () => ports.now(), call: (call, signal) => this.#call(ports, call, signal) };
  }

  get calls(): number {
    return this.#calls;
  }

  /** Time of all calls together, ms. */
  get modelMs(): number {
    return this.#modelMs;
  }

  async *#call(ports: Ports, call: ModelCall, signal: AbortSignal): AsyncIterable<Piece> {
    this.#calls++;
    const beganMs = ports.now();
    let text = "";
    try {
      for await (const piece of ports.call(call, signal)) {
        if (call.format !== undefined) text += piece.text;
        if (piece.done !== undefined && call.format !== undefined) this.#judged(call, text);
        yield piece;
      }
    } finally {
      this.#modelMs += ports.now() - beganMs;
    }
  }

  #judged({ messages }: ModelCall, reply: string): void {
    const read = [
      ...(messages.at(-1)?.content ?? "").matchAll(/<answer ([A-H]) ([0-9a-f]{8})>\n([\s\S]*?)\n<\/answer \1 \2>/g),
    ];
    const label = /"winner"\s*:\s*"([A-H])"/.exec(reply)?.[1];
    const place = read.findIndex(([, name]) => name === label);
    const text = read[place]?.[3];
    if (text !== undefined) this.verdicts.push({ place, of: read.length, text });
  }
}
