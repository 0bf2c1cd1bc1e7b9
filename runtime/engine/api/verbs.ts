import { Fault } from "../../core/fault.ts";
import type { Engine } from "../engine.ts";
import type { CreateSource, PullStep } from "../library.ts";

/** The verbs that change which models there are, for every API. Whoever calls them has asked for the admin token first. */

/** A name as Ollama has it: path parts of letters, digits and `. _ -`, perhaps a host with its port in front, and a tag. No part can climb out of a folder. */
const NAME =
  /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]{0,252}:[0-9]{1,5}\/)?[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}(\/[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}){0,3}(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$/;

/** The name under which something that is made or brought will be known. @throws Fault invalid_request for one that is none */
export function nameFor(engine: Engine, given: string, param = "model"): string {
  if (!NAME.test(given) || given.includes(".."))
    throw new Fault("invalid_request", `${param}: invalid model name; want family:tag such as llama3.2:1b`, { param });
  const tagged = given.lastIndexOf(":") > given.lastIndexOf("/");
  return engine.residency.resolve(given) ?? (tagged ? given : `${given}:latest`);
}

/** Brings a model, and makes it known to the engine. @throws Fault unknown_model, not_supported, invalid_request */
export async function* pull(
  engine: Engine,
  given: string,
  options: { digest?: string; source?: string; signal: AbortSignal },
): AsyncIterable<PullStep> {
  const name = nameFor(engine, given);
  yield* engine.library.pull(name, options);
  await engine.residency.add(name);
  yield { status: "success" };
}

/** Makes a model, and makes it known to the engine. @throws Fault unknown_model, not_supported, invalid_request */
export async function* create(
  engine: Engine,
  given: string,
  source: CreateSource,
  signal: AbortSignal,
): AsyncIterable<PullStep> {
  const name = nameFor(engine, given);
  const from = source.from === undefined ? {} : { from: engine.residency.resolve(source.from) ?? source.from };
  yield* engine.library.create(name, { ...source, ...from }, signal);
  await engine.residency.add(name);
  yield { status: "success" };
}

/** A second name for a model. @throws Fault unknown_model, not_supported, invalid_request */
export async function copy(engine: Engine, given: string, to: string): Promise<void> {
  const name = nameFor(engine, to, "destination");
  await engine.library.copy(known(engine, given), name);
  await engine.residency.add(name);
}

/** Takes a name away. What the model writes is written to its end. @throws Fault unknown_model, not_supported */
export async function remove(engine: Engine, given: string): Promise<void> {
  const name = known(engine, given);
  await engine.library.remove(name);
  engine.residency.remove(name);
}

/** @throws Fault unknown_model, in Ollama's words */
function known(engine: Engine, given: string): string {
  const name = engine.residency.resolve(given);
  if (name === undefined)
    throw new Fault("unknown_model", `model '${given.slice(0, 400)}' not found`, { param: "model" });
  return name;
}
