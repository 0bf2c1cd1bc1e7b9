import { onTestFinished } from "vitest";
import { type MockEnsemble, startMockEnsemble } from "./ensemble.ts";

/** Starts a mock ensemble that is closed when the running test ends. */
export async function openMockEnsemble(...args: Parameters<typeof startMockEnsemble>): Promise<MockEnsemble> {
  const ensemble = await startMockEnsemble(...args);
  onTestFinished(() => ensemble.close());
  return ensemble;
}
