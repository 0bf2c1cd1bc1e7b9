import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lifecycleDiagram } from "../../../../../runtime/core/lifecycle/diagram.ts";
import {
  advance,
  advanceAll,
  type Lifecycle,
  LifecycleError,
  NOT_YET,
  reasonsFrom,
} from "../../../../../runtime/core/lifecycle/reduce.ts";
import {
  type LifecycleReason,
  type LifecycleState,
  NOWHERE,
  REASONS,
  SEED_EDGES,
  STATES,
} from "../../../../../runtime/core/lifecycle/table.ts";

/** The seed's diagram as it was drawn, and the two additions, written down a second time. */
const EXPECTED: Readonly<Record<string, Partial<Record<LifecycleReason, LifecycleState>>>> = {
  [NOWHERE]: { "Create Model CR": "K8s_Create" },
  K8s_Create: { "Operator Reconciles": "Image_Pull", "Delete Request": "Terminating" },
  Image_Pull: { "Image Ready": "Storage_Mount", "Delete Request": "Terminating" },
  Storage_Mount: { "Storage Ready": "Pod_Start", "Delete Request": "Terminating" },
  Pod_Start: { "Pod Running": "Engine_Init", "Delete Request": "Terminating" },
  Engine_Init: { "Engine Started": "Model_Register", "Delete Request": "Terminating" },
  Model_Register: { "Model Loaded": "DTE_Init", "Delete Request": "Terminating" },
  DTE_Init: { "Cognitive Layer Active": "Ready", "Delete Request": "Terminating" },
  Ready: { "Health Check Pass": "Serving", "Delete Request": "Terminating" },
  Serving: {
    "API Requests": "Inference",
    "Load Changes": "Scaling",
    "Update Required": "Maintenance",
    "Delete Request": "Terminating",
  },
  Inference: { "Cognitive Processing": "DTE_Process", "Continue Serving": "Serving" },
  DTE_Process: { "Enhanced Response": "Response", "Continue Serving": "Serving" },
  Response: { "Continue Serving": "Serving" },
  Scaling: { "Scale Complete": "Serving", "Delete Request": "Terminating" },
  Maintenance: { "Update Complete": "Serving", "Delete Request": "Terminating" },
  Terminating: { "Graceful Shutdown": "Cleanup" },
  Cleanup: { "Resources Released": NOWHERE },
};

const everyState = [NOWHERE, ...STATES] as const;

describe("the lifecycle of a model", () => {
  const all = everyState.flatMap((state) => REASONS.map((reason) => ({ state, reason })));
  test.each(all)("$state, $reason", ({ state, reason }) => {
    const to = EXPECTED[state]?.[reason];
    const event = { reason, detail: "llama3.2:1b" };
    if (to !== undefined) expect(advance({ state }, event)).toEqual({ state: to, by: event });
    else {
      expect(() => advance({ state }, event)).toThrow(LifecycleError);
      expect(() => advance({ state }, event)).toThrow(`${state} does not know "${reason}" (llama3.2:1b), want "`);
    }
  });

  test("has the seed's sixteen states and twenty reasons, each on an edge", () => {
    expect([STATES.length, REASONS.length, SEED_EDGES.length]).toEqual([16, 20, 20]);
    expect(new Set(everyState.flatMap((state) => reasonsFrom(state)))).toEqual(new Set(REASONS));
    const touched = new Set(SEED_EDGES.flatMap(([from, , to]) => [from, to]));
    expect(touched).toEqual(new Set(everyState));
  });

  test("goes from the wish to the last byte by the seed's edges, a question on its way", () => {
    const reasons: LifecycleReason[] = [...SEED_EDGES.map(([, reason]) => reason)];
    expect(
      advanceAll(
        NOT_YET,
        reasons.map((reason) => ({ reason })),
      ),
    ).toEqual({
      state: NOWHERE,
      by: { reason: "Resources Released" },
    });
  });

  test("every state leads to the end, and a refused event changes nothing", () => {
    const anyEvents = fc.array(fc.constantFrom(...REASONS), { maxLength: 60 });
    fc.assert(
      fc.property(anyEvents, (reasons) => {
        let at: Lifecycle = NOT_YET;
        for (const reason of reasons) {
          const before = structuredClone(at);
          try {
            at = advance(at, { reason });
          } catch (error) {
            expect(error).toBeInstanceOf(LifecycleError);
            expect(at).toEqual(before);
          }
        }
        expect(reachesTheEnd(at.state)).toBe(true);
      }),
    );
  });

  test("is drawn edge by edge", () => {
    const lines = lifecycleDiagram().split("\n");
    expect(lines[0]).toBe("stateDiagram-v2");
    expect(lines.slice(1).toSorted()).toEqual(
      Object.entries(EXPECTED)
        .flatMap(([from, row]) => Object.entries(row).map(([reason, to]) => `    ${from} --> ${to}: ${reason}`))
        .toSorted(),
    );
  });
});

function reachesTheEnd(from: LifecycleState): boolean {
  const seen = new Set<LifecycleState>([from]);
  for (const state of seen) {
    for (const reason of reasonsFrom(state)) seen.add(advance({ state }, { reason }).state);
  }
  return seen.has(NOWHERE);
}
