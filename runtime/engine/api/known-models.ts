import { Fault } from "../../core/fault.ts";
import type { Engine } from "../engine.ts";
import type { LibraryEntry } from "../library.ts";
import { nameKey, parseModelName, shortName } from "../store/name.ts";

/** Time of this process' start: when models without a file of their own came to be there. */
const SINCE = new Date();

/** The models that may be asked for, by name: those of the library, and those that the engine was started with. */
export async function knownModels(engine: Engine): Promise<LibraryEntry[]> {
  const known = new Map((await engine.library.list()).map((entry) => [entry.name, entry]));
  for (const { name, facts } of engine.residency.list()) {
    const modifiedAt = known.get(name)?.modifiedAt ?? SINCE;
    // What is in memory knows its digest, too.
    if (facts !== undefined) known.set(name, { name, facts, modifiedAt });
  }
  return [...known.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** One of them. @throws Fault unknown_model */
export async function knownModel(engine: Engine, given: string): Promise<LibraryEntry> {
  const name = await resolveModel(engine, given);
  const found = (await knownModels(engine)).find((one) => one.name === name);
  if (found === undefined) throw absent(given);
  return found;
}

/**
 * The name under which the engine knows what a client means. A model that the library has and nobody has asked for yet becomes known by it.
 * @throws Fault unknown_model
 */
export async function resolveModel(engine: Engine, given: string): Promise<string> {
  const { residency } = engine;
  const name = residency.resolve(given) ?? residency.resolve(canonical(given));
  if (name !== undefined) return name;
  const key = keyOf(given);
  const stored = key === undefined ? undefined : (await engine.library.list()).find((one) => keyOf(one.name) === key);
  if (stored === undefined) throw absent(given);
  residency.register(stored.name);
  return stored.name;
}

/** A name as people write it; the text itself where it is none. */
function canonical(given: string): string {
  try {
    return shortName(parseModelName(given));
  } catch {
    return given;
  }
}

/** What names of one model have in common; undefined for no name. */
function keyOf(given: string): string | undefined {
  try {
    return nameKey(parseModelName(given));
  } catch {
    return undefined;
  }
}

function absent(given: string): Fault {
  return new Fault("unknown_model", `model '${given.slice(0, 400)}' not found, try pulling it first`, {
    param: "model",
  });
}
