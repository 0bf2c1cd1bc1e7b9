import { describe, expect, test } from "vitest";
import { schemaFlaw } from "../../../../../runtime/engine/llama/schema.ts";

describe("JSON schemas", () => {
  test.each([
    [{ type: "object", properties: { a: { type: ["string", "null"] } }, additionalProperties: false }],
    [{ type: "array", items: { oneOf: [{ type: "integer" }, { enum: ["a", 1] }] } }],
    [{}],
  ])("%j has no flaw", (schema) => {
    expect(schemaFlaw(schema)).toBeUndefined();
  });

  const deep = (levels: number): unknown => (levels === 0 ? {} : { items: deep(levels - 1) });
  test.each<[unknown, string]>([
    [{ type: "nonsense" }, 'format.type: got "nonsense"'],
    [{ properties: { a: { items: { type: 5 } } } }, "format.properties.a.items.type: got 5"],
    [{ oneOf: [{ type: "string" }, 3] }, "format.oneOf[1]: got 3, want a JSON schema"],
    [{ properties: 1 }, "format.properties: want an object of schemas"],
    [deep(40), "nested deeper than 32"],
  ])("%j is named with its place", (schema, flaw) => {
    expect(schemaFlaw(schema)).toContain(flaw);
  });
});
