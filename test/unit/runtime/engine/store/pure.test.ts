import { join, resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { QuantizationProfilesSchema } from "../../../../../runtime/contracts/quantization.ts";
import { Fault } from "../../../../../runtime/core/fault.ts";
import { type Kept, planEviction } from "../../../../../runtime/engine/store/budget.ts";
import { requireFits } from "../../../../../runtime/engine/store/memory-fit.ts";
import { nameKey, nameOfKey, parseModelName, shortName } from "../../../../../runtime/engine/store/name.ts";
import { chooseGguf, quantizationOf, tagsFor } from "../../../../../runtime/engine/store/profile.ts";
import { backoffMs, nextRange, parseContentRange, strongTag } from "../../../../../runtime/engine/store/ranges.ts";
import { parseSource, splitPin } from "../../../../../runtime/engine/store/source.ts";

const HEX = "0123456789abcdef".repeat(4);

describe("a model's name", () => {
  test.each([
    ["llama3.2", "registry.ollama.ai/library/llama3.2/latest", "llama3.2:latest"],
    ["Llama3.2:1B", "registry.ollama.ai/library/llama3.2/1b", "Llama3.2:1B"],
    ["me/mine:v1", "registry.ollama.ai/me/mine/v1", "me/mine:v1"],
    ["hf.co/org/Repo-GGUF:Q4_K_M", "hf.co/org/repo-gguf/q4_k_m", "hf.co/org/Repo-GGUF:Q4_K_M"],
    ["localhost:5000/library/x", "localhost:5000/library/x/latest", "localhost:5000/library/x:latest"],
  ])("%s", (text, key, short) => {
    const name = parseModelName(text);
    expect([nameKey(name), shortName(name)]).toEqual([key, short]);
    expect(parseModelName(`${text}@sha256:${HEX}`)).toEqual({ ...name, digest: HEX });
    expect(nameOfKey(key)).toBeDefined();
  });

  test.each([
    "",
    ":",
    "/",
    "..",
    "../x",
    "x/..",
    "x:..",
    "x:../../etc/passwd",
    "../../../x:1",
    "/etc/passwd",
    "a/b/c/d:1",
    "a//b",
    "-rf",
    ".hidden",
    "x:.hidden",
    "a..b",
    "x y",
    "x\0y",
    "x\n:1",
    "x\u202e:1",
    "x:1:2",
    "x\\y",
    "C:\\x",
    "%2e%2e/x",
    "~/x",
    "x:",
    "x@sha256:abc",
    `x@sha256:${HEX}0`,
    `x@sha512:${HEX}`,
    `x@sha256:${HEX.toUpperCase()}`,
    "http://x/y:1",
    "a".repeat(600),
  ])("%j is none", (text) => {
    expect(() => parseModelName(text)).toThrow(expect.objectContaining({ code: "invalid_request" }) as Fault);
  });

  test("of any text is refused, or a path of four plain parts below the store", () => {
    const tricky = fc.string({
      unit: fc.constantFrom("a", "Z", "0", ".", "..", "/", "\\", ":", "-", "_", "\0", "\n", "@", "%2f", "~", "é"),
      maxLength: 30,
    });
    fc.assert(
      fc.property(
        fc.oneof(tricky, fc.string({ maxLength: 40 }), fc.string({ unit: "binary", maxLength: 20 })),
        (text) => {
          let key: string;
          try {
            key = nameKey(parseModelName(text));
          } catch (error) {
            expect(error).toBeInstanceOf(Fault);
            expect((error as Fault).code).toBe("invalid_request");
            expect((error as Fault).message).not.toMatch(/[\x00-\x1f]/);
            return;
          }
          const path = resolve(join("/store/manifests", ...key.split("/")));
          expect(path).toBe(`/store/manifests/${key}`);
          expect(path.split("/")).toHaveLength(7);
          expect(key).toMatch(/^[a-z0-9._:/-]+$/);
        },
      ),
      { numRuns: 20_000 },
    );
  });
});

describe("a source", () => {
  const nameOf = (text: string) => parseModelName(text);
  test.each<[string, object]>([
    ["tiny:1b", { kind: "registry", host: "registry.ollama.ai", repository: "library/tiny", reference: "1b" }],
    ["hf.co/org/Repo:Q8_0", { kind: "hub", repository: "org/Repo", pick: "Q8_0" }],
    [
      "huggingface.co/org/Repo@abc:sub/x.gguf",
      { kind: "hub", repository: "org/Repo", revision: "abc", pick: "sub/x.gguf" },
    ],
    ["oci:ghcr.io/a/b/c:v1", { kind: "registry", host: "ghcr.io", repository: "a/b/c", reference: "v1" }],
    ["oci:ghcr.io/a", { kind: "registry", host: "ghcr.io", repository: "a" }],
    ["https://host/x.gguf?a=b#c", { kind: "web", url: "https://host/x.gguf?a=b" }],
    ["file:/a/b.gguf", { kind: "file", path: "/a/b.gguf" }],
    ["file:///a/b.gguf", { kind: "file", path: "/a/b.gguf" }],
  ])("%s", (text, source) => {
    expect(parseSource(text, nameOf)).toEqual(source);
  });

  test.each([
    "oci:",
    "oci:../x",
    "oci:host/../x",
    "oci:host/a:../b",
    "hf.co/org",
    "hf.co/org/../x",
    "hf.co/o/r:../x",
    "file:",
    "https://",
    "https://u:p@h/x",
    "ftp://h/x",
  ])("%s is none", (text) => {
    expect(() => parseSource(text, nameOf)).toThrow(expect.objectContaining({ code: "invalid_request" }) as Fault);
  });

  test("with a password in it is refused without repeating it", () => {
    expect(() => parseSource("https://me:secret@h/x?token=secret", nameOf)).toThrow(/^(?!.*secret).*$/);
  });

  test("has a pin behind it", () => {
    expect(splitPin(`x:1=https://h/x@sha256:${HEX}`)).toEqual({ rest: "x:1=https://h/x", hex: HEX });
    expect(splitPin("x:1=hf.co/o/r@main:Q8_0")).toEqual({ rest: "x:1=hf.co/o/r@main:Q8_0" });
    expect(() => splitPin("x@sha256:1")).toThrow(/64 hex digits/);
  });
});

describe("ranges", () => {
  test.each([
    ["bytes 0-99/200", { first: 0, last: 99, totalBytes: 200 }],
    ["bytes 5-9/*", { first: 5, last: 9 }],
    ["bytes 9-5/200", undefined],
    ["bytes 0-200/200", undefined],
    ["items 0-1/2", undefined],
    [undefined, undefined],
  ])("%s", (header, range) => {
    expect(parseContentRange(header)).toEqual(range);
  });

  test("cover a file once, each not longer than a chunk", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 50 }), (total, chunk) => {
        let at = 0;
        while (at < total) {
          const { first, last } = nextRange(at, total, chunk);
          expect([first, last - first + 1 <= chunk, last < total]).toEqual([at, true, true]);
          at = last + 1;
        }
        expect(at).toBe(total);
      }),
    );
  });

  test("take a strong tag only, and wait longer each time", () => {
    expect([strongTag('"a"'), strongTag('W/"a"'), strongTag("a"), strongTag('"a"b"')]).toEqual([
      '"a"',
      undefined,
      undefined,
      undefined,
    ]);
    expect([backoffMs(1, 1), backoffMs(2, 1), backoffMs(2, 0), backoffMs(30, 1)]).toEqual([500, 1_000, 500, 10_000]);
  });
});

describe("room", () => {
  const model = (name: string, lastUsedMs: number, bytes: number, digest = name, held = false): Kept => ({
    name,
    blobs: [{ digest, bytes }],
    lastUsedMs,
    held,
  });

  test("is made by those that were not used for longest", () => {
    const models = [model("a", 3, 10), model("b", 1, 10), model("c", 2, 10)];
    expect(planEviction(models, 5, 5)).toEqual({ remove: [], shortBytes: 0 });
    expect(planEviction(models, 0, 15)).toEqual({ remove: ["b", "c"], shortBytes: 0 });
    expect(planEviction(models, 0, 31)).toEqual({ remove: [], shortBytes: 1 });
  });

  test("is not made by one of two that share their bytes", () => {
    const models = [model("a", 1, 10, "same"), model("b", 2, 10, "same", true), model("c", 3, 10)];
    expect(planEviction(models, 0, 10)).toEqual({ remove: ["a", "c"], shortBytes: 0 });
    expect(planEviction(models, 0, 11)).toEqual({ remove: [], shortBytes: 1 });
  });

  test("never takes what is held, and frees what it says", () => {
    const any = fc.array(
      fc.record({
        lastUsedMs: fc.nat(9),
        bytes: fc.nat(9),
        digest: fc.constantFrom("1", "2", "3", "4"),
        held: fc.boolean(),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(any, fc.integer({ min: -20, max: 20 }), fc.nat(30), (given, free, needed) => {
        const sizes = new Map(given.map(({ digest, bytes }) => [digest, bytes]));
        const models = given.map((one, at) =>
          model(`${at}`, one.lastUsedMs, sizes.get(one.digest) ?? 0, one.digest, one.held),
        );
        const { remove, shortBytes } = planEviction(models, free, needed);
        expect(models.filter(({ name, held }) => held && remove.includes(name))).toEqual([]);
        const left = new Set(models.filter(({ name }) => !remove.includes(name)).map(({ blobs }) => blobs[0]?.digest));
        const freed = [...sizes].filter(([digest]) => !left.has(digest)).reduce((sum, [, bytes]) => sum + bytes, 0);
        if (shortBytes === 0) expect(free + freed).toBeGreaterThanOrEqual(needed);
        else expect(remove).toEqual([]);
      }),
    );
  });
});

describe("a quantization", () => {
  const profiles = QuantizationProfilesSchema.parse({ small: { quantizations: ["IQ4_XS", "Q4_0"], maxBytes: 100 } });
  const offered = [
    { path: "M-Q4_K_M.gguf", bytes: 50 },
    { path: "M-Q4_0.gguf", bytes: 200 },
    { path: "sub/M.q8_0.gguf", bytes: 90 },
    { path: "M-IQ4_XS.gguf", bytes: 40 },
    { path: "M-F16-00001-of-00002.gguf", bytes: 40 },
    { path: "config.json", bytes: 1 },
  ];

  test("is read from a file's name", () => {
    expect(["M-Q4_K_M.gguf", "sub/M.q8_0.gguf", "m-bf16.gguf", "M.gguf", "Q4_K_M/M.gguf"].map(quantizationOf)).toEqual([
      "Q4_K_M",
      "Q8_0",
      "BF16",
      undefined,
      undefined,
    ]);
  });

  test.each([
    [undefined, "M-Q4_K_M.gguf"],
    ["q8_0", "sub/M.q8_0.gguf"],
    ["small", "M-IQ4_XS.gguf"],
    ["M-Q4_0.gguf", "M-Q4_0.gguf"],
  ])("%s chooses %s", (pick, path) => {
    expect(chooseGguf(offered, pick, profiles, "there").path).toBe(path);
  });

  test("that is not there, or is in parts, is said so", () => {
    expect(() => chooseGguf(offered, "Q2_K", profiles, "there")).toThrow(/nothing for Q2_K; it has M-Q4_K_M.gguf/);
    expect(() => chooseGguf(offered, "M-F16-00001-of-00002.gguf", profiles, "there")).toThrow(/one part of several/);
  });

  test("makes a registry's tags", () => {
    const profile = profiles["Q8_0"];
    expect(profile && tagsFor("1b", profile)).toEqual(["1b-instruct-q8_0", "1b-it-q8_0", "1b-q8_0"]);
  });
});

test("a model larger than the memory is refused with both figures", () => {
  expect(() => requireFits("m:1", 2_097_152, 2_097_152)).not.toThrow();
  expect(() => requireFits("m:1", 3_145_728, 2_097_152)).toThrow(
    "m:1 needs at least 3.0 MiB of memory, 2.0 MiB may be used",
  );
});
