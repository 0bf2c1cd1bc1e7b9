// Streams whose socket is cut ten times each, at random places: nothing lost, nothing twice.
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HORN_PROTOCOLS } from "../../../runtime/contracts/horn.ts";
import type { AskEvent } from "../../../runtime/contracts/native.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import { connectRaw, type RawClient } from "../../support/horn-client.ts";

const CUTS = 10;
const REPLY = `by llama ${Array.from({ length: 120 }, (_, at) => `wörd-${at}`).join("  ")}\n`;

let ensemble: MockEnsemble;
beforeAll(async () => {
  ensemble = await startMockEnsemble({ llama: { answer: () => REPLY, tokenMs: 1 }, qwen: { prefillMs: 400 } });
});
afterAll(() => ensemble.close());

/** One stream as its client sees it, cut by cut. */
interface Seen {
  events: AskEvent[];
  sockets: number;
  session?: string;
}

/** Reads one question on one socket until it is cut after so many frames, or has ended. @returns whether it has ended */
async function readUntilCut(seen: Seen, protocol: string, frames: number, acknowledge: boolean): Promise<boolean> {
  let count = 0;
  let over = false;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<undefined>();
  const client: RawClient = await connectRaw({
    url: ensemble.url,
    protocol,
    hello: { type: "hello", ...(seen.session === undefined ? {} : { session: seen.session }) },
    onFrame: (frame, { socket, ...to }) => {
      if (over || socket.readyState !== socket.OPEN) return;
      if (frame.type === "refused") throw new Error(JSON.stringify(frame));
      if (frame.type === "welcome") {
        expect(frame.resumed).toBe(seen.session !== undefined);
        seen.session = frame.session;
        // The frame that asks may itself have been lost: welcome says which questions arrived.
        if (frame.questions.includes("q")) to.send({ type: "resume", id: "q", after: seen.events.length });
        else to.send({ type: "ask", id: "q", question: "Why?", draft: true });
      }
      if (frame.type !== "event") return;
      expect(frame.seq).toBe(seen.events.length + 1);
      seen.events.push(frame.event);
      if (acknowledge) to.send({ type: "ack", id: "q", upTo: frame.seq });
      over = frame.event.event === "answer" || frame.event.event === "error";
      if (over || ++count >= frames) {
        socket.terminate();
        stop(undefined);
      }
    },
  });
  seen.sockets++;
  await Promise.race([stopped, client.closed]);
  client.socket.terminate();
  return over;
}

const cut = fc.record({
  protocol: fc.constantFrom(...HORN_PROTOCOLS),
  frames: fc.integer({ min: 1, max: 14 }),
  acknowledge: fc.boolean(),
});

test("a stream cut ten times is whole, in order, and byte for byte the answer", { timeout: 60_000 }, async () => {
  let cuts = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(cut, { minLength: CUTS, maxLength: CUTS }), async (plan) => {
      const seen: Seen = { events: [], sockets: 0 };
      let over = false;
      for (const { protocol, frames, acknowledge } of plan) {
        over = await readUntilCut(seen, protocol, frames, acknowledge);
        if (over) break;
        cuts++;
      }
      if (!over) over = await readUntilCut(seen, HORN_PROTOCOLS[0], Infinity, true);
      expect(over).toBe(true);
      const last = seen.events.at(-1);
      if (last?.event !== "answer") throw new Error(JSON.stringify(last));
      const words = seen.events.flatMap((event) => (event.event === "text" ? [event.text] : [])).join("");
      expect(words).toBe(last.answer.reply);
      expect(words).toBe(REPLY.trim());
      const drafts = seen.events.flatMap((event) => (event.event === "draft" ? [event] : []));
      const stage = last.answer.stages.find(({ member }) => member === drafts[0]?.member);
      expect(
        drafts
          .map(({ text }) => text)
          .join("")
          .trim(),
      ).toBe(stage?.text);
      const ends = seen.events.flatMap((event) => (event.event === "stage-end" ? [event.stage.member] : []));
      expect(new Set(ends).size).toBe(ends.length);
    }),
    { numRuns: 12 },
  );
  expect(cuts).toBeGreaterThan(60);
});
