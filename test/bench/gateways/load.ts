import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import type { Report } from "../../../infra/lab/tools/cache.ts";
import { ensurePrograms } from "../../../infra/lab/tools/packages.ts";

/** What wrk saw in one run. Times are those of whole answers. */
export interface Measured {
  requests: number;
  /** Requests a second. */
  rate: number;
  p50Ms: number;
  p99Ms: number;
  /** Bytes of one answer with its head, on average: one that is cut short shows here. */
  answerBytes: number;
  /** Connections refused or broken, statuses of 400 and more, answers not there in time. */
  errors: number;
}

const count = z.int().min(0);
/** What load.lua prints. */
const Printed = z.strictObject({
  requests: count,
  bytes: count,
  durationUs: count,
  p50Us: count,
  p99Us: count,
  connect: count,
  read: count,
  write: count,
  status: count,
  timeout: count,
});

/** wrk's own patience with one answer, s: LiteLLM's queue at 256 connections takes some. */
const TIMEOUT_SECONDS = 30;

/** Makes sure that wrk is there: written in C, it leaves most of its core to the model server beside it. */
export async function prepareLoad(report: Report): Promise<void> {
  await ensurePrograms({
    programs: [{ program: "wrk", package: "wrk", for: "the load of the gateway benchmark" }],
    install: process.getuid?.() === 0,
    report,
  });
}

/** Sends the body in `file` over so many connections for so many seconds. */
export async function load(options: {
  url: string;
  headers: Record<string, string>;
  file: string;
  connections: number;
  seconds: number;
  core: number;
}): Promise<Measured> {
  const { url, headers, file, connections, seconds, core } = options;
  const { stdout } = await execa("taskset", [
    ...["-c", `${core}`, "wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", `${TIMEOUT_SECONDS}s`],
    ...["-s", join(import.meta.dirname, "load.lua"), `${url}/v1/chat/completions`, "--", file],
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]);
  return readLoad(stdout);
}

/** What wrk printed, as figures. @throws Error when load.lua's line is missing */
export function readLoad(stdout: string): Measured {
  const line = stdout.split("\n").findLast((one) => one.startsWith('{"requests"'));
  if (line === undefined) throw new Error(`wrk printed no figures:\n${stdout}`);
  const printed = Printed.parse(JSON.parse(line));
  return {
    requests: printed.requests,
    rate: printed.requests / (printed.durationUs / 1e6),
    p50Ms: printed.requests === 0 ? Number.NaN : printed.p50Us / 1000,
    p99Ms: printed.requests === 0 ? Number.NaN : printed.p99Us / 1000,
    answerBytes: printed.requests === 0 ? Number.NaN : printed.bytes / printed.requests,
    errors: printed.connect + printed.read + printed.write + printed.status + printed.timeout,
  };
}
