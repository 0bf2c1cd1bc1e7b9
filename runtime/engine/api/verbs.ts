import type { Engine } from "../engine.ts";
import type { CreateSource, PullOptions, PullStep } from "../library.ts";
import { parseModelName, shortName } from "../store/name.ts";
import { resolveModel } from "./known-models.ts";

/** The verbs that change which models there are, for every API. Whoever calls them has asked for the admin token first. */

/** The name under which something that is made or brought will be known, and the digest that it is pinned to. @throws Fault invalid_request for one that is none */
function nameFor(engine: Engine, given: string): { name: string; digest?: string } {
  const known = engine.residency.resolve(given);
  if (known !== undefined) return { name: known };
  const { digest, ...parts } = parseModelName(given);
  const name = shortName(parts);
  return { name: engine.residency.resolve(name) ?? name, ...(digest === undefined ? {} : { digest }) };
}

/** Brings a model, and makes it known to the engine. @throws Fault unknown_model, not_supported, invalid_request */
export async function* pull(engine: Engine, given: string, options: PullOptions): AsyncIterable<PullStep> {
  const { name, digest } = nameFor(engine, given);
  yield* engine.library.pull(name, { ...(digest === undefined ? {} : { digest }), ...options });
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
  const { name } = nameFor(engine, given);
  const from = source.from === undefined ? {} : { from: await resolveModel(engine, source.from) };
  yield* engine.library.create(name, { ...source, ...from }, signal);
  await engine.residency.add(name);
  yield { status: "success" };
}

/** A second name for a model. @throws Fault unknown_model, not_supported, invalid_request */
export async function copy(engine: Engine, given: string, to: string): Promise<void> {
  const { name } = nameFor(engine, to);
  await engine.library.copy(await resolveModel(engine, given), name);
  await engine.residency.add(name);
}

/** Takes a name away. What the model writes is written to its end. @throws Fault unknown_model, not_supported */
export async function remove(engine: Engine, given: string): Promise<void> {
  const name = await resolveModel(engine, given);
  await engine.library.remove(name);
  engine.residency.remove(name);
}
