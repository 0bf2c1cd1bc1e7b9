import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fieldsOf, textAt } from "../../../../../runtime/orchestrator/passthrough/fields.ts";

const bytes = (text: string): Buffer => Buffer.from(text);

/** Every field with its value, read by the platform's own parser. */
function read(text: string): [string, unknown][] {
  const body = bytes(text);
  return fieldsOf(body).map(({ key, start, end }) => [key, JSON.parse(body.toString("utf8", start, end)) as unknown]);
}

describe("the fields of a body", () => {
  test("are those that JSON.parse finds, for any object in any spacing", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 5 })),
        fc.constantFrom(0, 1, 4),
        (object, indent) => {
          const text = JSON.stringify(object, null, indent);
          expect(Object.fromEntries(read(text))).toEqual(JSON.parse(text));
        },
      ),
    );
  });

  test.each([
    [
      '{"model":"a","b":[1,{"model":"x"}]}',
      [
        ["model", "a"],
        ["b", [1, { model: "x" }]],
      ],
    ],
    ['{"mod\\u0065l":"\\"a\\\\"}', [["model", '"a\\']]],
    [
      '{"a":"}{][,:\\"","model":"m"}',
      [
        ["a", '}{][,:"'],
        ["model", "m"],
      ],
    ],
    [
      '{"model":"a","model":"b"}',
      [
        ["model", "a"],
        ["model", "b"],
      ],
    ],
    [" \n{ } ", []],
    [
      `{"a":"${"x".repeat(500)}\\\\","b":1}`,
      [
        ["a", `${"x".repeat(500)}\\`],
        ["b", 1],
      ],
    ],
    [
      `{"a":"${"x".repeat(500)}\\\\\\"y","b":-1.5e3}`,
      [
        ["a", `${"x".repeat(500)}\\"y`],
        ["b", -1500],
      ],
    ],
    [
      `{"a":"${"x".repeat(62)}\\\\","b":null}`,
      [
        ["a", `${"x".repeat(62)}\\`],
        ["b", null],
      ],
    ],
  ])("of %s", (text, want) => {
    expect(read(text)).toEqual(want);
  });

  test("name the kind of each value", () => {
    const kinds = fieldsOf(bytes('{"a":"","b":1,"c":true,"d":null,"e":[],"f":{}}')).map(({ kind }) => kind);
    expect(kinds).toEqual(["string", "number", "boolean", "null", "array", "object"]);
  });

  test.each([
    ["", /empty/],
    ["[1]", /want a JSON object/],
    ['"model"', /want a JSON object/],
    ['{"a":1', /not JSON/],
    ['{"a":"b', /a string does not end/],
    [`{"a":"${"b".repeat(1_000)}\\"}`, /a string does not end/],
    ['{"a":[1,2', /not closed/],
    ['{"a":1}x', /not JSON/],
    ['{"a":1,}', /not JSON/],
    ["{a:1}", /not JSON/],
    ['{"a":tru}', /not JSON/],
    ['{"a":01}', /not JSON/],
    ['{"a" 1}', /not JSON/],
    ['{"\\x":1}', /not JSON/],
    [`{"a":${"[".repeat(100_000)}`, /at most 64 levels/],
    [`{"a":${"[".repeat(64)}${"]".repeat(64)}}`, /at most 64 levels/],
  ])("of %s are refused", (text, message) => {
    expect(() => fieldsOf(bytes(text))).toThrow(message);
  });

  test("may be 64 levels deep", () => {
    expect(fieldsOf(bytes(`{"a":${"[".repeat(63)}${"]".repeat(63)}}`))).toHaveLength(1);
  });

  test("never end outside the bytes, whatever these are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
        const body = Buffer.concat([bytes('{"model":'), array]);
        try {
          for (const { start, end } of fieldsOf(body)) expect(start < end && end <= body.length).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: "invalid_request" });
        }
      }),
    );
  });
});

test("the text of a string is what JSON says it is", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const raw = bytes(JSON.stringify(text));
      expect(textAt(raw, 0, raw.length)).toBe(text);
    }),
  );
});
