import { Fault, toFault } from "./fault.ts";
import { endOf, passageFor } from "./passage.ts";
import type { ModelCall, Piece, Ports } from "./ports.ts";

/** Times that a call is begun anew while nothing of it was streamed; each time at another pod where there is one. */
const RETRIES = 2;

/** Streams one member's own answer as it comes. Once a word was streamed a failure ends it: another try would say other words. @throws Fault */
export async function* relay(
  call: ModelCall,
  signal: AbortSignal,
  ports: Pick<Ports, "call" | "pods" | "traffic">,
): AsyncIterable<Piece> {
  const tried = new Set<string>();
  let failed: Fault | undefined;
  for (let attempt = 0; ; attempt++) {
    const found = await passageFor(call, ports, tried);
    if (found instanceof Fault) throw failed ?? found;
    const { passage, more } = found;
    tried.add(passage.pod);
    let streamed = false;
    try {
      for await (const piece of ports.call(call, signal, passage.pod)) {
        streamed ||= piece.text !== "";
        if (piece.done !== undefined) passage.ended("ok");
        yield piece;
        if (piece.done !== undefined) return;
      }
      throw new Fault("model_unreachable", "the answer ended before it was done", { member: call.member.name });
    } catch (error) {
      if (signal.aborted) {
        const why = signal.reason instanceof Fault ? signal.reason : new Fault("cancelled", "the client went away");
        if (!streamed) passage.ended(endOf(why));
        throw why;
      }
      failed = toFault(error);
      passage.ended(endOf(failed));
      // The same address once, if its connection broke; another pod whatever the error was.
      const again = more ? attempt < RETRIES : attempt === 0 && failed.code === "model_unreachable";
      if (streamed || !again) throw failed;
    } finally {
      passage.ended("abandoned");
    }
  }
}
