import { describe, expect, test } from "vitest";
import { schemaFlaw } from "../../../../runtime/engine/llama/schema.ts";
import { modelArguments } from "../../../../runtime/engine/model-arguments.ts";

describe("--model", () => {
  test("names, and the files of those that have one", () => {
    const { names, files } = modelArguments(["llama3.2:1b", "judge:1=/models/judge.gguf", "library/x:y=/a=b.gguf"]);
    expect(names).toEqual(["llama3.2:1b", "judge:1", "library/x:y"]);
    expect([...files]).toEqual([
      ["judge:1", "/models/judge.gguf"],
      ["library/x:y", "/a=b.gguf"],
    ]);
  });

  test.each([
    [["../../etc/passwd"], /want family:tag/],
    [["a/../b:1"], /want family:tag/],
    [["/abs:1"], /want family:tag/],
    [[""], /want family:tag/],
    [["a:b:c"], /want family:tag/],
    [["a b"], /want family:tag/],
    [["=x.gguf"], /want family:tag/],
    [["a:1="], /want a file after the =/],
    [["a:1", "a:1=f.gguf"], /a:1 is given twice/],
  ])("%j is refused", (given, message) => {
    expect(() => modelArguments(given)).toThrow(message);
  });
});

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
