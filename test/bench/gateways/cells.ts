import { MODEL } from "../peers/gateway.ts";

/** One way of asking: everything but who is asked. */
export interface Cell {
  delayMs: number;
  bodyKb: number;
  stream: boolean;
  connections: number;
}

const DELAYS_MS = [0, 20] as const;
const BODIES_KB = [1, 220] as const;
const CONNECTIONS = [1, 16, 64, 256] as const;

/** All ways of asking that the aims name. */
export function allCells(): Cell[] {
  return DELAYS_MS.flatMap((delayMs) =>
    BODIES_KB.flatMap((bodyKb) =>
      [false, true].flatMap((stream) => CONNECTIONS.map((connections) => ({ delayMs, bodyKb, stream, connections }))),
    ),
  );
}

/** The few of them that show whether an aim is near: unstreamed without delay, and one each of the others. */
export function quickCells(): Cell[] {
  return allCells().filter(({ delayMs, bodyKb, stream, connections }) => {
    const others = Number(delayMs > 0) + Number(bodyKb > 1) + Number(stream);
    return others === 0 || (others === 1 && connections === 64);
  });
}

/** The cell in words, for a table. */
export function describeCell({ delayMs, bodyKb, stream, connections }: Cell): string {
  return `${delayMs} ms, ${bodyKb} KB, ${stream ? "streamed" : "whole"}, c=${connections}`;
}

/** The request's body: a chat whose question fills it up to so many KB (1000 bytes). */
export function bodyOf({ bodyKb, stream }: Pick<Cell, "bodyKb" | "stream">): string {
  const withQuestion = (content: string): string =>
    JSON.stringify({
      model: MODEL,
      ...(stream ? { stream: true } : {}),
      messages: [
        { role: "system", content: "Answer in one sentence." },
        { role: "user", content },
      ],
    });
  const words = "How does a question of this length find its way to the model? ";
  const room = bodyKb * 1000 - withQuestion("").length;
  return withQuestion(words.repeat(Math.ceil(room / words.length)).slice(0, room));
}
