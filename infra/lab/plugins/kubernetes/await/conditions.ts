import type { Value } from "../../provider.ts";
import { listAt, textAt } from "../manifest.ts";

/** One entry of `status.conditions`; "" for what the server left out. */
export interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
}

/** The conditions of an object, in the server's order. */
export function conditionsOf(live: Value): Condition[] {
  return listAt(live, "status", "conditions").map((entry) => ({
    type: textAt(entry, "type") ?? "",
    status: textAt(entry, "status") ?? "",
    reason: textAt(entry, "reason") ?? "",
    message: textAt(entry, "message") ?? "",
  }));
}

/** The condition of a type; undefined when the object has none such yet. */
export function conditionOf(live: Value, type: string): Condition | undefined {
  return conditionsOf(live).find((condition) => condition.type === type);
}

/** `[Reason] message`, or what there is of it. */
export function describe(condition: Condition): string {
  const reason = condition.reason === "" ? condition.type : condition.reason;
  return condition.message === "" ? `[${reason}]` : `[${reason}] ${condition.message}`;
}
