import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Rename } from "../../../../../runtime/orchestrator/passthrough/rename.ts";

/** The text after renaming to `llama`, cut at every so many bytes. */
function renamed(text: string, every: number, lines = false): string {
  const bytes = Buffer.from(text);
  const rename = new Rename("llama", lines);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += every) parts.push(rename.push(bytes.subarray(at, at + every)));
  return Buffer.concat(parts).toString();
}

describe.each([1, 2, 3, 7, 1_000])("the model's name, in parts of %i bytes,", (every) => {
  test.each([
    ['{"model":"llama3.2:1b","done":true}', '{"model":"llama","done":true}'],
    ['{"id":"model","model" : "a\\"b"}', '{"id":"model","model" : "llama"}'],
    ['{"response":{"id":"r","model":"m"},"type":"x"}', '{"response":{"id":"r","model":"llama"},"type":"x"}'],
    ['{"response":"model","model":"m"}', '{"response":"model","model":"llama"}'],
  ])("is put into %s", (text, want) => {
    expect(renamed(text, every)).toBe(want);
  });

  test.each([
    '{"message":{"model":"m","content":"\\"model\\":\\"m\\""}}',
    '{"message":{"tool_calls":[{"function":{"arguments":{"model":"m"}}}]}}',
    '{"response":{"tools":[{"model":"m"}],"metadata":{"model":"m"}}}',
    '{"a":["model","m"],"b":"model","models":"m","mode":"m"}',
    '{"model":null,"x":"y"}',
    '{"model":{"model":"m"}}',
    '"model":"m"',
  ])("is not put into %s", (text) => {
    expect(renamed(text, every)).toBe(text);
  });

  test("is put into each line and event, also after one that was cut", () => {
    expect(renamed('{"model":"m"}\n{"model":"m","x":[\n{"model":"m"}\n', every, true)).toBe(
      '{"model":"llama"}\n{"model":"llama","x":[\n{"model":"llama"}\n',
    );
    expect(renamed(': say "hi\nevent: x\ndata: {"model":"m"}\n\ndata: [DONE]\n\n', every, true)).toBe(
      ': say "hi\nevent: x\ndata: {"model":"llama"}\n\ndata: [DONE]\n\n',
    );
  });
});

test("everything else stays as it is, for any document and any cut", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.integer({ min: 1, max: 9 }), (value, every) => {
      const document = { a: value, model: "m", b: value };
      const renamedTo = (named: unknown): unknown =>
        typeof named === "object" && named !== null ? { ...named, model: "llama" } : named;
      const text = JSON.stringify(document);
      expect(JSON.parse(renamed(text, every))).toEqual(renamedTo(JSON.parse(text)));
    }),
  );
});
