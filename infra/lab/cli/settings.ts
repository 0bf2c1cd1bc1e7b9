import { InvalidArgumentError } from "commander";

/**
 * Adds one `--set PATH=VALUE` to those before it. The value is JSON where it parses as such, else text; an empty value
 * removes what is at the path.
 * @throws InvalidArgumentError when there is no path
 */
export function parseSetting(text: string, before: Record<string, unknown>): Record<string, unknown> {
  const [, path, value] = /^([A-Za-z0-9_.-]+)=(.*)$/s.exec(text) ?? [];
  if (path === undefined || value === undefined) {
    throw new InvalidArgumentError(`want PATH=VALUE, e.g. nodes.1.memoryMib=10240, got ${JSON.stringify(text)}.`);
  }
  return { ...before, [path]: parseValue(value) };
}

function parseValue(value: string): unknown {
  if (value === "") return null;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
