import * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";

/** Settings that cannot be used. Pulumi prints the message without a stack and creates nothing. */
export class SettingsError extends pulumi.RunError {
  override readonly name = "SettingsError";
}

/** Longest value that a message repeats, characters. */
const MAX_ECHO = 80;

/**
 * One line for each bad setting: its path, what it got, what is allowed.
 * Only for settings that hold no secret, since it repeats their values.
 */
export function renderIssues(key: string, issues: readonly z.core.$ZodIssue[], raw: unknown): string {
  return issues.flatMap((issue) => linesOf(key, issue, raw)).join("\n");
}

function linesOf(key: string, issue: z.core.$ZodIssue, raw: unknown): string[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map(
      (name) => `${render(key, [...issue.path, name])}: there is no such setting; check its spelling or take it out`,
    );
  }
  const path = render(key, issue.path);
  // A message that names its own setting and value.
  if (issue.code === "custom" && issue.params?.["whole"] === true) return [`${path}.${issue.message}`];
  return [`${path}: got ${echo(valueAt(raw, issue.path))}, ${wantOf(issue)}`];
}

/** What is allowed, in words. Messages of our own schemas say it already. */
function wantOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `want ${issue.expected === "int" ? "an integer" : article(issue.expected)}`;
    case "invalid_value":
      return `want ${issue.values.map(String).join(" or ")}`;
    case "too_small":
      return `want at least ${String(issue.minimum)}${unitOf(issue.origin)}`;
    case "too_big":
      return `want at most ${String(issue.maximum)}${unitOf(issue.origin)}`;
    case "custom":
    case "invalid_element":
    case "invalid_format":
    case "invalid_key":
    case "invalid_union":
    case "not_multiple_of":
    case "unrecognized_keys":
      return issue.message;
  }
}

function unitOf(origin: string): string {
  if (origin === "string") return " characters";
  return origin === "array" ? " entries" : "";
}

function article(noun: string): string {
  return /^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`;
}

function render(key: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => text + (typeof step === "number" ? `[${step}]` : `.${String(step)}`), key);
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, step);
  }
  return value;
}

function echo(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length <= MAX_ECHO ? text : `${text.slice(0, MAX_ECHO)}…`;
}
