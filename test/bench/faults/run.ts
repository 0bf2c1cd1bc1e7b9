import { setTimeout as delay } from "node:timers/promises";
import type { Report } from "../../../infra/lab/tools/cache.ts";
import { type FaultyModel, startFaultyModel } from "../../support/faults/faulty-model.ts";
import { isUnreachable, type Strike, STRIKES, UNREACHABLE_URL } from "../../support/faults/matrix.ts";
import { callAsClient } from "../../support/faults/outcome.ts";
import { type MockModel, startMockModel } from "../../support/mock-model.ts";
import { startGateway } from "../gateways/contestant.ts";
import { MODEL, type PreparedGateway, type RunningGateway } from "../peers/gateway.ts";
import { type Cell, scoreOf } from "./score.ts";

/** Who takes part. */
export interface Entry {
  name: string;
  gateway: PreparedGateway;
  /** Model that its clients ask for. */
  model: string;
}

/** Longest time of one call of a model, ms, as each gateway is told. */
const CALL_MS = 1_500;
/** What a client waits: three tries and a fallback, each as long as a call may take, and what a busy machine takes besides. */
export const DEADLINE_MS = 9_000;
/** How long a gateway may take to close its connections once the client has its end, ms. */
const CLOSE_MS = 2_000;

const FIRST = "Größe by the first — 12 € and 日本 are whole.";
const SECOND = "Antwort from the second: naïve façade, ½ ≠ 0.5 🦙 is whole.";
/** Another model's whole answer, also after the first word of the asked one, is whole: servers know models by other names than their callers. */
const WHOLE = [FIRST, SECOND, "The first words", "The The first words"];

/** Tries every strike on the first of two models behind a gateway, streamed and not. */
export async function benchFaults(entry: Entry, strikes: readonly Strike[], report: Report): Promise<Cell[]> {
  const first = await startMockModel(MODEL, { answer: () => FIRST, prefillMs: 50, tokenMs: 2 });
  const second = await startMockModel(MODEL, { answer: () => SECOND, prefillMs: 50, tokenMs: 2 });
  const faulty = await startFaultyModel(first.url, MODEL);
  try {
    const cells: Cell[] = [];
    for (const stream of [false, true]) {
      const within = strikes.filter((strike) => !isUnreachable(strike));
      cells.push(...(await tryAll(entry, faulty.url, second, within, stream, faulty, report)));
      for (const strike of strikes.filter(isUnreachable))
        cells.push(...(await tryAll(entry, UNREACHABLE_URL[strike.fault], second, [strike], stream, faulty, report)));
    }
    return cells;
  } finally {
    await faulty.close();
    await Promise.all([first.close(), second.close()]);
  }
}

async function tryAll(
  entry: Entry,
  firstUrl: string,
  second: MockModel,
  strikes: readonly Strike[],
  stream: boolean,
  faulty: FaultyModel,
  report: Report,
): Promise<Cell[]> {
  const start = (): Promise<RunningGateway> => startGateway(entry.gateway, [firstUrl, second.url], CALL_MS);
  let running = await start();
  const cells: Cell[] = [];
  try {
    for (const strike of strikes) {
      faulty.strike = isUnreachable(strike) ? undefined : strike;
      const { ms, ...outcome } = await callAsClient({
        baseUrl: running.url,
        headers: running.headers,
        api: "openai",
        model: entry.model,
        question: "Why?",
        stream,
        patienceMs: DEADLINE_MS,
      });
      const leaked = await leftOpen(faulty);
      faulty.strike = undefined;
      const { fault, phase } = strike;
      const score = scoreOf(outcome, WHOLE, running.alive());
      cells.push({ fault, phase, stream, score, leaked, ms });
      report(`${entry.name}: ${fault}, ${phase}, ${stream ? "streamed" : "whole"}: ${score}, ${ms.toFixed(0)} ms`);
      if (!running.alive()) {
        await running.stop();
        running = await start();
      }
    }
  } finally {
    await running.stop();
  }
  return cells;
}

async function leftOpen(faulty: FaultyModel): Promise<number> {
  const until = performance.now() + CLOSE_MS;
  while (faulty.struckOpen() > 0 && performance.now() < until) await delay(20);
  return faulty.struckOpen();
}

/** Every strike, or each fault at one time only. */
export function strikesOf(quick: boolean): readonly Strike[] {
  return quick ? STRIKES.filter(({ phase }, index) => phase === "streaming" || index >= STRIKES.length - 2) : STRIKES;
}
