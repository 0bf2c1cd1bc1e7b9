import { AssetValue, Secret, Unknown } from "./provider.ts";
import type { CheckFailure, Properties, Value } from "./provider.ts";
import { isPlainObject } from "./wire.ts";

/** What an input may be. Secrets and unknowns are allowed anywhere: their content is checked when it is known. */
export type Shape =
  | { readonly kind: "string"; readonly oneOf?: readonly string[]; readonly pattern?: RegExp; readonly hint?: string }
  | { readonly kind: "number"; readonly minimum?: number; readonly maximum?: number; readonly integer?: boolean }
  | { readonly kind: "boolean" }
  | { readonly kind: "any" }
  | { readonly kind: "asset"; readonly allow: readonly ("asset" | "archive")[] }
  | { readonly kind: "list"; readonly of: Shape; readonly maximum?: number }
  | { readonly kind: "map"; readonly of: Shape }
  | { readonly kind: "object"; readonly fields: Record<string, Shape>; readonly required: readonly string[] };

export const text: Shape = { kind: "string" };
export const flag: Shape = { kind: "boolean" };
export const anything: Shape = { kind: "any" };
export const integer = (minimum?: number, maximum?: number): Shape => ({
  kind: "number",
  integer: true,
  minimum,
  maximum,
});
export const oneOf = (...values: string[]): Shape => ({ kind: "string", oneOf: values });
/** Text of a certain form; `hint` says in words which. */
export const textLike = (pattern: RegExp, hint: string): Shape => ({ kind: "string", pattern, hint });
export const list = (of: Shape, maximum?: number): Shape => ({ kind: "list", of, maximum });
export const map = (of: Shape): Shape => ({ kind: "map", of });
export const object = (fields: Record<string, Shape>, required: readonly string[] = []): Shape => ({
  kind: "object",
  fields,
  required,
});

/**
 * Everything that is wrong with a resource's inputs: unknown names, missing ones, wrong types and values. Values that
 * are secret are never quoted.
 */
export function checkShape(properties: Properties, shape: Shape): CheckFailure[] {
  const failures: CheckFailure[] = [];
  visit("", properties, shape, false, failures);
  return failures;
}

function visit(path: string, value: Value, shape: Shape, secret: boolean, failures: CheckFailure[]): void {
  if (value instanceof Unknown) return;
  if (value instanceof Secret) {
    visit(path, value.value, shape, true, failures);
    return;
  }
  const got = describe(value, secret);
  const refuse = (want: string): void => {
    failures.push({ property: path, reason: `got ${got}, want ${want}` });
  };
  switch (shape.kind) {
    case "any":
      return;
    case "string":
      if (typeof value !== "string") refuse("text");
      else if (shape.oneOf !== undefined && !shape.oneOf.includes(value)) refuse(`one of ${shape.oneOf.join(", ")}`);
      else if (shape.pattern !== undefined && !shape.pattern.test(value)) refuse(shape.hint ?? "another form of text");
      return;
    case "number":
      if (!isNumberOf(value, shape)) refuse(describeNumber(shape));
      return;
    case "boolean":
      if (typeof value !== "boolean") refuse("true or false");
      return;
    case "asset":
      if (!(value instanceof AssetValue) || !shape.allow.includes(value.kind)) refuse(`an ${shape.allow.join(" or ")}`);
      return;
    case "list":
      if (!Array.isArray(value)) {
        refuse("a list");
        return;
      }
      if (shape.maximum !== undefined && value.length > shape.maximum) {
        failures.push({ property: path, reason: `got ${value.length} items, want at most ${shape.maximum}` });
      }
      value.forEach((item, index) => visit(`${path}[${index}]`, item, shape.of, secret, failures));
      return;
    case "map":
      if (!isPlainObject(value)) refuse("an object");
      else for (const [key, item] of Object.entries(value)) visit(join(path, key), item, shape.of, secret, failures);
      return;
    case "object":
      if (isPlainObject(value)) visitObject(path, value, shape, secret, failures);
      else refuse("an object");
      return;
  }
}

function visitObject(
  path: string,
  value: Properties,
  shape: Extract<Shape, { kind: "object" }>,
  secret: boolean,
  failures: CheckFailure[],
): void {
  for (const [key, item] of Object.entries(value)) {
    const field = shape.fields[key];
    if (field === undefined) {
      const known = Object.keys(shape.fields).sort().join(", ");
      failures.push({
        property: join(path, key),
        reason: `unknown property; ${path || "the resource"} takes ${known}`,
      });
    } else if (item !== null) {
      visit(join(path, key), item, field, secret, failures);
    }
  }
  for (const key of shape.required) {
    if ((value[key] ?? null) === null) failures.push({ property: join(path, key), reason: "is required" });
  }
}

function isNumberOf(value: Value, shape: Extract<Shape, { kind: "number" }>): boolean {
  if (typeof value !== "number") return false;
  if (shape.integer === true && !Number.isInteger(value)) return false;
  return value >= (shape.minimum ?? -Infinity) && value <= (shape.maximum ?? Infinity);
}

function describeNumber(shape: Extract<Shape, { kind: "number" }>): string {
  const what = shape.integer === true ? "an integer" : "a number";
  if (shape.minimum !== undefined && shape.maximum !== undefined) {
    return `${what} from ${shape.minimum} to ${shape.maximum}`;
  }
  if (shape.minimum !== undefined) return `${what} of at least ${shape.minimum}`;
  return shape.maximum === undefined ? what : `${what} of at most ${shape.maximum}`;
}

function describe(value: Value, secret: boolean): string {
  if (secret) return "a secret";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === "number" || typeof value === "boolean") return JSON.stringify(value);
  if (value instanceof AssetValue) return `an ${value.kind}`;
  return isPlainObject(value) ? "an object" : "a resource";
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
