import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Activity, EngineLifecycle } from "../../../../runtime/engine/lifecycle.ts";

function serving(): EngineLifecycle {
  let ms = 0;
  const lifecycle = new EngineLifecycle(undefined, () => ++ms);
  for (const reason of ["Engine Started", "Model Loaded", "Cognitive Layer Active", "Health Check Pass"] as const) {
    lifecycle.apply(reason);
  }
  return lifecycle;
}

describe("an engine's lifecycle", () => {
  test("begins where its pod runs, and refuses what its state does not know", () => {
    const lifecycle = new EngineLifecycle();
    expect(lifecycle.view()).toMatchObject({ state: "Engine_Init", reason: "Pod Running" });
    expect(() => lifecycle.apply("Model Loaded")).toThrow('Engine_Init does not know "Model Loaded"');
    expect(lifecycle.state).toBe("Engine_Init");
  });

  test("shows the update while models also come and go, and each by its own reasons", () => {
    const lifecycle = serving();
    const load = lifecycle.begin("Load Changes", "a:1");
    expect(lifecycle.view()).toMatchObject({ state: "Scaling", reason: "Load Changes", detail: "a:1" });
    const swap = lifecycle.begin("Update Required", "b:1");
    expect(lifecycle.state).toBe("Maintenance");
    swap();
    expect(lifecycle.state).toBe("Scaling");
    load();
    load();
    expect(lifecycle.state).toBe("Serving");
    expect(lifecycle.view().steps.map(({ reason }) => reason)).toEqual([
      "Pod Running",
      "Engine Started",
      "Model Loaded",
      "Cognitive Layer Active",
      "Health Check Pass",
      "Load Changes",
      "Scale Complete",
      "Update Required",
      "Update Complete",
      "Load Changes",
      "Scale Complete",
    ]);
  });

  test("an activity that began before Serving is seen once it serves, and none after the delete", () => {
    const lifecycle = new EngineLifecycle();
    const end = lifecycle.begin("Load Changes", "a:1");
    expect(lifecycle.state).toBe("Engine_Init");
    for (const reason of ["Engine Started", "Model Loaded", "Cognitive Layer Active", "Health Check Pass"] as const)
      lifecycle.apply(reason);
    expect(lifecycle.state).toBe("Scaling");
    lifecycle.apply("Delete Request", "SIGTERM");
    end();
    lifecycle.begin("Update Required", "b:1");
    expect(lifecycle.state).toBe("Terminating");
    expect(lifecycle.serves).toBe(false);
  });

  test("any order of activities and requests ends in Serving with nothing left", () => {
    const activity = fc.constantFrom<Activity>("Load Changes", "Update Required");
    fc.assert(
      fc.property(fc.array(fc.tuple(activity, fc.nat(10)), { maxLength: 30 }), (plan) => {
        const lifecycle = serving();
        const open: (() => void)[] = [];
        for (const [which, close] of plan) {
          open.push(lifecycle.begin(which, which));
          const walk = lifecycle.request();
          if (close % 2 === 0) walk.process();
          if (close % 3 === 0) walk.respond();
          open.push(() => walk.end());
          expect(lifecycle.serves).toBe(true);
          open.splice(close % open.length, 1).forEach((end) => end());
        }
        for (const end of open) end();
        expect(lifecycle.view()).toMatchObject({
          state: "Serving",
          requests: { Inference: 0, DTE_Process: 0, Response: 0 },
        });
      }),
    );
  });

  test("a request is counted where it is", () => {
    const lifecycle = serving();
    const [first, second] = [lifecycle.request(), lifecycle.request()];
    first.process();
    expect(lifecycle.view().requests).toEqual({ Inference: 1, DTE_Process: 1, Response: 0 });
    first.respond();
    second.end();
    second.end();
    expect(lifecycle.view().requests).toEqual({ Inference: 0, DTE_Process: 0, Response: 1 });
    expect(lifecycle.state).toBe("Serving");
  });
});
