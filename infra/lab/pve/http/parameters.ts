import { z } from "zod";
import { FormatError, parseBoolean } from "../format/property-string.ts";
import { badParameters } from "../api-error.ts";

/** Proxmox' answer to a parameter that an endpoint does not have (PVE::JSONSchema). */
export const UNKNOWN_PROPERTY = "property is not defined in schema and the schema does not allow additional properties";
const MISSING = "property is missing and it is not optional";

/** Any text without line breaks, up to 64 KiB. */
export function text(): z.ZodType<string, string> {
  return z
    .string()
    .refine(
      (value) => !/[\r\n\0]/.test(value) && value.length <= 65_536,
      "invalid format - value must be one line of text",
    );
}

/** Text that may have several lines (descriptions, comments). */
export function lines(): z.ZodType<string, string> {
  return z.string().max(8192, "value may only be 8192 characters long");
}

/** Text that matches a pattern; `format` names what is expected, as in `value does not look like a valid <format>`. */
export function pattern(expected: RegExp, format: string): z.ZodType<string, string> {
  return z.string().regex(expected, `invalid format - value does not look like a valid ${format}`);
}

/** A whole number within its range. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): z.ZodType<number, string> {
  return z.string().transform((value, context) => {
    const fail = (message: string): never => {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    };
    if (!/^[+-]?\d+$/.test(value)) return fail(`type check ('integer') failed - got '${value}'`);
    const number = Number(value);
    if (number < min) return fail(`value must have a minimum value of ${min}`);
    if (number > max) return fail(`value must have a maximum value of ${max}`);
    return number;
  });
}

/** A number within its range, kept as the text it came as. */
export function decimal(min: number, max: number): z.ZodType<string, string> {
  return z.string().superRefine((value, context) => {
    const fail = (message: string) => context.addIssue({ code: "custom", message });
    if (!/^[+-]?\d+(\.\d+)?$/.test(value)) fail(`type check ('number') failed - got '${value}'`);
    else if (Number(value) < min) fail(`value must have a minimum value of ${min}`);
    else if (Number(value) > max) fail(`value must have a maximum value of ${max}`);
  });
}

/** Proxmox' booleans: 1 and 0, on and off, yes and no, true and false. */
export function flag(): z.ZodType<boolean, string> {
  return z.string().transform((value, context) => {
    const parsed = parseBoolean(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: "custom", message: `type check ('boolean') failed - got '${value}'` });
    return z.NEVER;
  });
}

/** One of a closed list. */
export function choice<const T extends string>(...values: readonly T[]): z.ZodType<T, string> {
  return z.string().transform((value, context) => {
    const found = values.find((candidate) => candidate === value);
    if (found !== undefined) return found;
    context.addIssue({
      code: "custom",
      message: `value '${value}' does not have a value in the enumeration '${values.join(", ")}'`,
    });
    return z.NEVER;
  });
}

/** Text that `read` turns into its stored form; its FormatError becomes `invalid format - …`. */
export function formatted(read: (value: string) => string): z.ZodType<string, string> {
  return z.string().transform((value, context) => {
    try {
      if (/[\r\n\0]/.test(value)) throw new FormatError("value must be one line of text");
      return read(value);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      context.addIssue({ code: "custom", message: `invalid format - ${error.message}` });
      return z.NEVER;
    }
  });
}

/** A list with commas, semicolons or blanks between its items (PVE::Tools, split_list). */
export function list(): z.ZodType<string[], string> {
  return text().transform((value) => value.split(/[,;\s]+/).filter((item) => item !== ""));
}

/** Names and forms that many endpoints share. */
export const common = {
  node: pattern(/^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/, "node name"),
  vmId: integer(100, 999_999_999),
  storage: pattern(/^[a-z][a-z0-9\-_.]*[a-z0-9]$/i, "storage ID"),
  poolId: pattern(/^[A-Za-z0-9.\-_]+(\/[A-Za-z0-9.\-_]+){0,2}$/, "pool name"),
  digest: z.string().max(64, "value may only be 64 characters long"),
  dnsName: pattern(/^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$/, "DNS name"),
} as const;

/**
 * Checks a request's parameters against a strict schema.
 * @throws ApiError 400 with one text for every parameter that is wrong, missing or unknown
 */
export function parseParameters<S extends z.ZodType>(schema: S, values: Readonly<Record<string, string>>): z.output<S> {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const errors: Record<string, string> = {};
  for (const issue of parsed.error.issues) {
    if (issue.code === "unrecognized_keys") for (const key of issue.keys) errors[key] ??= UNKNOWN_PROPERTY;
    else {
      const key = String(issue.path[0] ?? "");
      errors[key] ??= Object.hasOwn(values, key) ? issue.message : MISSING;
    }
  }
  throw badParameters(errors);
}
