import { describe, expect, test } from "vitest";
import { AssetValue, Secret, UNKNOWN } from "../../../../infra/lab/plugins/provider.ts";
import type { Properties } from "../../../../infra/lab/plugins/provider.ts";
import { checkShape, integer, list, object, text } from "../../../../infra/lab/plugins/shape.ts";
import {
  containsSecret,
  containsUnknown,
  diffProperties,
  markReplaces,
  plainOf,
  rootOfPath,
  sameValue,
} from "../../../../infra/lab/plugins/values.ts";

describe("comparing properties", () => {
  test("names the path and what happens to it", () => {
    const olds: Properties = { a: { b: 1, "x.y": 1 }, list: [1, 2], gone: true, same: "s" };
    const news: Properties = { a: { b: 2, "x.y": 2 }, list: [1, 3, 4], added: null, same: new Secret("s") };
    expect(diffProperties(olds, news)).toEqual({
      "a.b": "update",
      'a["x.y"]': "update",
      "list[1]": "update",
      "list[2]": "add",
      gone: "delete",
    });
  });

  test("an unknown equals nothing, null equals nothing given", () => {
    expect(sameValue(UNKNOWN, UNKNOWN)).toBe(false);
    expect(sameValue(null, undefined)).toBe(true);
  });

  test("assets are the same by their hash", () => {
    const asset = (hash: string, path: string) => new AssetValue("asset", { hash, path });
    expect(sameValue(asset("1", "/a"), asset("1", "/b"))).toBe(true);
    expect(sameValue(asset("1", "/a"), asset("2", "/a"))).toBe(false);
  });

  test("paths lead to their property", () => {
    expect(["disks[0].size", "a.b", '["x.y"].z', "plain"].map(rootOfPath)).toEqual(["disks", "a", "x.y", "plain"]);
    expect(markReplaces({ vmId: "update", name: "add" }, (path) => path === "vmId")).toEqual({
      vmId: "update-replace",
      name: "add",
    });
  });
});

describe("wrappers", () => {
  const nested: Properties = { list: [{ token: new Secret("x") }], later: UNKNOWN };
  test("are found at any depth", () => {
    expect([containsSecret(nested), containsUnknown(nested)]).toEqual([true, true]);
    expect([containsSecret({ a: [1] }), containsUnknown(new Secret([1]))]).toEqual([false, false]);
  });
  test("come off for plain JSON", () => {
    expect(plainOf(nested)).toEqual({ list: [{ token: "x" }] });
  });
});

describe("shapes", () => {
  const shape = object({ name: text, sizes: list(integer(1, 9), 2) }, ["name"]);
  test.each<[Properties, string[]]>([
    [{ name: "n", sizes: [1, 9] }, []],
    [{ name: UNKNOWN, sizes: new Secret([1]) }, []],
    [{}, ["name: is required"]],
    [
      { name: "n", sizes: [0, 1, 2] },
      ["sizes: got 3 items, want at most 2", "sizes[0]: got 0, want an integer from 1 to 9"],
    ],
    [{ name: "n", Name: "n" }, ["Name: unknown property; the resource takes name, sizes"]],
    [{ name: new Secret(["canary"]) }, ["name: got a secret, want text"]],
  ])("%#", (properties, failures) => {
    expect(checkShape(properties, shape).map(({ property, reason }) => `${property}: ${reason}`)).toEqual(failures);
  });
});
