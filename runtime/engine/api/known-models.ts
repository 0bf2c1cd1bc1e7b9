import { Fault } from "../../core/fault.ts";
import type { Engine } from "../engine.ts";
import type { LibraryEntry } from "../library.ts";

/** Time of this process' start: when models without a file of their own came to be there. */
const SINCE = new Date();

/** The models that the engine was told of or brought, with what is known of them, by name. */
export async function knownModels(engine: Engine): Promise<LibraryEntry[]> {
  const modified = new Map((await engine.library.list()).map(({ name, modifiedAt }) => [name, modifiedAt]));
  const known = engine.residency.list().flatMap(({ name, facts }): LibraryEntry[] => {
    return facts === undefined ? [] : [{ name, facts, modifiedAt: modified.get(name) ?? SINCE }];
  });
  return known.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** One of them. @throws Fault unknown_model */
export async function knownModel(engine: Engine, given: string): Promise<LibraryEntry> {
  const name = engine.residency.resolve(given);
  const found = (await knownModels(engine)).find((one) => one.name === name);
  if (found === undefined) throw new Fault("unknown_model", `model '${given}' not found`, { param: "model" });
  return found;
}
