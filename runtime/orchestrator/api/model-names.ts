import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault } from "../../core/fault.ts";
import type { Ensemble } from "../ensemble.ts";

/** Names that can be asked: the ensemble's first, then each member's. */
export function modelNames(ensemble: Ensemble): string[] {
  return [ensemble.config.name, ...ensemble.members().map(({ name }) => name)];
}

/** The fault of a model name that means nobody; it lists those that do. */
export function unknownModel(ensemble: Ensemble, model: string): Fault {
  return new Fault(
    "unknown_model",
    `model '${model.slice(0, 100)}' not found; there are ${modelNames(ensemble).join(", ")}`,
  );
}

/** The member that a model name means; undefined for the ensemble. @throws Fault unknown_model */
export function known(ensemble: Ensemble, model: string): Member | undefined {
  if (ensemble.isEnsemble(model)) return undefined;
  const member = ensemble.memberNamed(model);
  if (member === undefined) throw unknownModel(ensemble, model);
  return member;
}

/** Lets only the ensemble's name through: a member's request ends up in the app where its server lacks the path. @throws Fault unknown_model, not_found */
export function onlyEnsemble(ensemble: Ensemble, model: string, path: string): void {
  const member = known(ensemble, model);
  if (member !== undefined) throw new Fault("not_found", `the server of ${member.name} has no ${path}`);
}
