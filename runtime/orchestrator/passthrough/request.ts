import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault } from "../../core/fault.ts";
import { type Field, fieldsOf, textAt } from "./fields.ts";
import type { Route } from "./routes.ts";

/** A request as far as passing it on needs to know it. */
export interface Skimmed {
  bytes: Buffer;
  fields: readonly Field[];
  /** The field that names the model: `model`, or the old `name` of `/api/show`. */
  modelField: Field;
  /** Model that is asked for, as the client wrote it. */
  model: string;
}

/** Reads which model a body asks for and checks what must hold for any. @throws Fault invalid_request */
export function skim(bytes: Buffer, route: Route): Skimmed {
  const fields = fieldsOf(bytes);
  let modelField: Field | undefined;
  for (const field of fields) {
    const { key, kind } = field;
    // Go reads keys in any case and the last one wins, so a second one in other letters would ask a server for a model that nobody checked.
    if (key === "model" || key.toLowerCase() === "model") {
      if (modelField?.key === "model" || key !== "model")
        throw new Fault("invalid_request", "model: want it once, in small letters");
      modelField = field;
    }
    // A key such as `constructor` names something in every object.
    const want = Object.hasOwn(route.kinds, key) ? route.kinds[key] : undefined;
    if (want !== undefined && kind !== "null" && !want.includes(kind))
      throw new Fault("invalid_request", `${key}: got ${kind}, want ${want.join(" or ")}`);
  }
  if (modelField === undefined && route.path === "/api/show") modelField = fields.find(({ key }) => key === "name");
  for (const name of route.required) {
    const field = fields.find(({ key }) => key === name);
    if (field === undefined || field.kind === "null") throw new Fault("invalid_request", `${name}: missing`);
    if (field.kind === "array" && emptyArray(bytes, field))
      throw new Fault("invalid_request", `${name}: want at least one`);
  }
  const model = modelField?.kind === "string" ? textAt(bytes, modelField.start, modelField.end) : "";
  if (modelField === undefined || model === "") throw new Fault("invalid_request", "model: want the name of a model");
  return { bytes, fields, modelField, model };
}

function emptyArray(bytes: Buffer, { start, end }: Field): boolean {
  return end - start < 64 && bytes.toString("latin1", start + 1, end - 1).trim() === "";
}

/** A part of the bytes and what stands there instead. */
interface Edit {
  start: number;
  end: number;
  text: string;
}

/** The body as the member's server is to get it: its own name of the model, and the context window and threads where the client left them open. */
export function bodyFor(skimmed: Skimmed, member: Member, route: Route): Buffer {
  const { bytes, modelField } = skimmed;
  const edits: Edit[] = [{ ...modelField, text: JSON.stringify(member.model) }];
  if (route.options) edits.push(...optionEdits(skimmed, member));
  return applied(bytes, edits);
}

/** Ollama cuts a prompt in silence at its own context window and counts the host's cores, so both are named, as in every call of the ensemble. */
function optionEdits({ bytes, fields, modelField }: Skimmed, member: Member): Edit[] {
  const wanted: [string, number][] = [["num_ctx", member.numCtx]];
  if (member.numThread !== undefined) wanted.push(["num_thread", member.numThread]);
  const options = fields.findLast(({ key }) => key === "options");
  if (options === undefined || options.kind === "null") {
    const text = JSON.stringify(Object.fromEntries(wanted));
    if (options !== undefined) return [{ ...options, text }];
    return [{ start: modelField.end, end: modelField.end, text: `,"options":${text}` }];
  }
  const said = fieldsOf(bytes.subarray(options.start, options.end)).map(({ key }) => key);
  const missing = wanted.filter(([key]) => !said.includes(key)).map(([key, value]) => `"${key}":${value}`);
  if (missing.length === 0) return [];
  const after = options.start + 1;
  return [{ start: after, end: after, text: missing.join(",") + (said.length === 0 ? "" : ",") }];
}

function applied(bytes: Buffer, edits: Edit[]): Buffer {
  edits.sort((a, b) => a.start - b.start);
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end, text } of edits) {
    parts.push(bytes.subarray(at, start), Buffer.from(text));
    at = end;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}
