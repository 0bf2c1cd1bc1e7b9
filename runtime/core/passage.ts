import { Fault } from "./fault.ts";
import type { ModelCall, Ports } from "./ports.ts";
import type { Passage, PassageEnd } from "./traffic.ts";

/** A pod to call; or why none may be called now. */
export async function passageFor(
  call: ModelCall,
  { pods: podsOf, traffic }: Pick<Ports, "pods" | "traffic">,
  tried?: ReadonlySet<string>,
): Promise<{ passage: Passage; more: boolean } | Fault> {
  const { member } = call;
  const found = podsOf?.(member) ?? [member.url];
  const pods = found instanceof Promise ? await found : found;
  if (traffic === undefined) return { passage: { pod: pods[0] ?? member.url, ended: () => undefined }, more: false };
  const affinity = call.affinity ?? call.messages.find(({ role }) => role === "user")?.content ?? "";
  const passage = traffic.passage(member, { pods, affinity, avoid: tried });
  if (passage instanceof Fault) return passage;
  return { passage, more: pods.some((pod) => pod !== passage.pod && tried?.has(pod) !== true) };
}

/** Statuses by which a server finds fault with the request and not with itself. */
const CALLERS_FAULT = new Set([400, 413, 422]);

/** What an error says of the pod that was called. */
export function endOf(error: unknown): PassageEnd {
  if (!(error instanceof Fault)) return "failed";
  if (error.upstreamStatus !== undefined && CALLERS_FAULT.has(error.upstreamStatus)) return "abandoned";
  if (error.code === "cancelled") return "abandoned";
  return error.code === "model_unreachable" ? "unreachable" : "failed";
}
