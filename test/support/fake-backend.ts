import type { Backend, GeneratePiece, LoadedModel } from "../../runtime/engine/backend.ts";
import type { ModelFacts } from "../../runtime/engine/library.ts";
import { scriptedBackend } from "../../runtime/engine/scripted/backend.ts";
import type { FakeClock } from "./fake-clock.ts";

/** A model of the fake backend. */
export interface FakeModel {
  /** Which weights the name means now. */
  digest: string;
  bytes: number;
  loadMs: number;
  /** Bytes that it takes once loaded. @default bytes */
  realBytes?: number;
  /** Why loads fail. Absent: they do not. */
  broken?: string;
  /** Kills what was loaded last. */
  kill?: (reason: string) => void;
}

/** One thing that the fake backend did, and when. */
export interface FakeEvent {
  atMs: number;
  what: "load" | "ready" | "unload";
  name: string;
  digest: string;
}

/** A backend whose loads take time on a fake clock, and which keeps count of the memory that it has given out. */
export function fakeBackend(
  clock: FakeClock,
  models: Record<string, FakeModel>,
): Backend & { events: FakeEvent[]; held: () => number } {
  const events: FakeEvent[] = [];
  let held = 0;
  const factsOf = (name: string): ModelFacts | undefined => {
    const model = models[name];
    return model === undefined
      ? undefined
      : {
          digest: model.digest,
          sizeBytes: model.bytes,
          format: "fake",
          family: "fake",
          parameterSize: "",
          quantization: "",
          contextTokens: 1,
        };
  };
  return {
    ...scriptedBackend(),
    library: { ...scriptedBackend().library, facts: (name) => Promise.resolve(factsOf(name)) },
    needsBytes: ({ sizeBytes }) => sizeBytes,
    events,
    held: () => held,
    load: async (name, progress, signal): Promise<LoadedModel> => {
      const model = models[name];
      if (model === undefined) throw new Error("no such file");
      const { digest, bytes, realBytes = bytes } = model;
      const note = (what: FakeEvent["what"]): void => void events.push({ atMs: clock.nowMs(), what, name, digest });
      note("load");
      held += realBytes;
      for (let part = 1; part <= 4; part++) {
        await clock.sleep(model.loadMs / 4, signal);
        progress(part / 4);
        if (model.broken !== undefined || signal.aborted) {
          held -= realBytes;
          throw new Error(model.broken ?? "aborted");
        }
      }
      let kill: (reason: string) => void = () => undefined;
      const gone = new Promise<string>((resolve) => {
        kill = resolve;
      });
      let there = true;
      const free = (): void => {
        if (there) held -= realBytes;
        there = false;
      };
      model.kill = (reason) => {
        free();
        kill(reason);
      };
      note("ready");
      return {
        digest,
        memoryBytes: realBytes,
        gone,
        async *generate(): AsyncIterable<GeneratePiece> {
          yield { text: digest };
        },
        unload: () => {
          note("unload");
          free();
          return Promise.resolve();
        },
      };
    },
  };
}
