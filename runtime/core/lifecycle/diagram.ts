import { EDGES } from "./table.ts";

/** The transition table as a mermaid state diagram, one line an edge. */
export function lifecycleDiagram(): string {
  return ["stateDiagram-v2", ...EDGES.map(([from, reason, to]) => `    ${from} --> ${to}: ${reason}`)].join("\n");
}
