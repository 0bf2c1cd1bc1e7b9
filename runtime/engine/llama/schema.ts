/** Types that a JSON schema may name. Source: JSON Schema 2020-12, validation, 6.1.1. */
const TYPES = new Set(["object", "array", "string", "number", "integer", "boolean", "null"]);
/** Deepest nesting that is followed. */
const DEEPEST = 32;

/**
 * What makes a JSON schema one that no grammar can be made of, as a path and the value there; undefined when there is nothing.
 * llama.cpp's converter turns an unknown type into `null` without a word, so it is looked for before.
 */
export function schemaFlaw(schema: unknown, path = "format", depth = 0): string | undefined {
  if (depth > DEEPEST) return `${path}: nested deeper than ${DEEPEST}`;
  if (Array.isArray(schema)) return first(schema.map((one, index) => schemaFlaw(one, `${path}[${index}]`, depth + 1)));
  if (typeof schema !== "object" || schema === null) {
    return typeof schema === "boolean" ? undefined : `${path}: got ${JSON.stringify(schema)}, want a JSON schema`;
  }
  const node = schema as Record<string, unknown>;
  const types = node["type"] === undefined ? [] : [node["type"]].flat();
  const unknown = types.find((type) => typeof type !== "string" || !TYPES.has(type));
  if (unknown !== undefined)
    return `${path}.type: got ${JSON.stringify(unknown)}, want one of ${[...TYPES].join(", ")}`;
  const inner = ["properties", "$defs"].flatMap((key) => {
    const all = node[key];
    if (all === undefined) return [];
    if (typeof all !== "object" || all === null) return [`${path}.${key}: want an object of schemas`];
    return Object.entries(all).map(([name, one]) => schemaFlaw(one, `${path}.${key}.${name}`, depth + 1));
  });
  const nested = ["items", "prefixItems", "oneOf", "anyOf", "additionalProperties"].map((key) =>
    node[key] === undefined ? undefined : schemaFlaw(node[key], `${path}.${key}`, depth + 1),
  );
  return first([...inner, ...nested]);
}

function first(flaws: readonly (string | undefined)[]): string | undefined {
  return flaws.find((flaw) => flaw !== undefined);
}
