import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssetValue, ResourceReference, Secret, UNKNOWN } from "../../../../infra/lab/plugins/provider.ts";
import type { Value } from "../../../../infra/lab/plugins/provider.ts";
import { decodeProperties, decodeValue, encodeProperties, encodeValue } from "../../../../infra/lab/plugins/wire.ts";

const leaf: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
  fc.string(),
  fc.constant(UNKNOWN),
  fc.constant(new AssetValue("asset", { text: "x", hash: "h" })),
  fc.constant(new ResourceReference("urn:pulumi:s::p::t::n", "id")),
);
// Keys of JavaScript's own objects are left out: no property of a resource is called `__proto__`.
const key = fc.string().filter((text) => text !== "__proto__");
const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc.array(tie("value")),
    fc.dictionary(key, tie("value"), { noNullPrototype: true }),
    tie("value").map((inner) => new Secret(inner)),
  ),
}));

describe("values on the engine's wire", () => {
  test("come back as they went, with every wrapper", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(decodeValue(encodeValue(value))).toEqual(value);
      }),
    );
  });

  test("lose their secrets only for an engine that takes none", () => {
    const struct = encodeProperties({ token: new Secret({ a: [new Secret("x")] }) }, false);
    expect(decodeProperties(struct)).toEqual({ token: { a: ["x"] } });
  });

  test("of any kind of unknown are unknown", () => {
    for (const sentinel of ["1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", "04da6b54-80e4-46f7-96ec-b56ff0331ba9"]) {
      expect(decodeValue(encodeValue(sentinel))).toBe(UNKNOWN);
    }
  });

  test("that are output values are opened", () => {
    const signature = { "4dabf18193072939515e22adb298388d": "d0e6a833031e9bbcd3f4e8bde6ca49a4" };
    expect(decodeValue(encodeValue({ ...signature, value: 1, secret: true }))).toEqual(new Secret(1));
    expect(decodeValue(encodeValue({ ...signature }))).toBe(UNKNOWN);
  });

  test("with a signature nobody knows are refused", () => {
    const strange = encodeValue({ "4dabf18193072939515e22adb298388d": "0000", value: "canary" });
    expect(() => decodeValue(strange)).toThrow(/signature that this plugin does not know/);
  });
});
