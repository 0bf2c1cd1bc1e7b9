import { open, readFile, stat, truncate } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ggufOf, wholeGguf } from "../../../../support/gguf-bytes.ts";
import { type Registry, sha256 } from "../../../../support/registry.ts";
import { pull, type StoreBench, startStoreBench } from "../../../../support/store.ts";

const never = new AbortController().signal;

let bench: StoreBench;
let registry: Registry;
beforeEach(async () => {
  bench = await startStoreBench();
  ({ registry } = bench);
});
afterEach(() => bench.close());

/** The error of a pull that must fail, with nothing served from it and nothing left behind. */
async function refused(name: string, options: Parameters<typeof pull>[2] = {}, settings = {}): Promise<Error> {
  const one = await bench.store(settings);
  const error = await pull(one, name, options).then(
    () => new Error("it did not fail"),
    (failure: unknown) => failure as Error,
  );
  expect(await one.facts(name.replace(/@.*/, "")).catch(() => undefined)).toBeUndefined();
  await expect(one.weights(name, never)).rejects.toThrow();
  expect(await bench.files()).toEqual([]);
  return error;
}

const manifestOf = (layer: object): string =>
  JSON.stringify({
    schemaVersion: 2,
    config: { mediaType: "x", digest: registry.blob(Buffer.from("{}")), size: 2 },
    layers: [
      { mediaType: "application/vnd.ollama.image.model", digest: `sha256:${"a".repeat(64)}`, size: 9, ...layer },
    ],
  });

describe("a digest that is none", () => {
  const DIGESTS = [
    "",
    "sha256:",
    "sha256:../../../../etc/passwd",
    `sha256:${"a".repeat(63)}`,
    `sha256:${"a".repeat(65)}`,
    `sha256:${"A".repeat(64)}`,
    `sha256:${"g".repeat(64)}`,
    `sha256-${"a".repeat(64)}`,
    `sha512:${"a".repeat(64)}`,
    `sha256:${"a".repeat(64)}\n`,
    `sha256:${"a".repeat(32)}/../${"a".repeat(28)}`,
  ];

  test.each(DIGESTS)("%j in a manifest", async (digest) => {
    registry.manifest("library/tiny", "1b", manifestOf({ digest }));
    expect(await refused("tiny:1b")).toMatchObject({
      code: "bad_model",
      message: expect.stringMatching(/layers\.0\.digest: want sha256: and 64 hex digits/) as string,
    });
    expect(registry.served()).toBe(0);
  });

  test.each(DIGESTS)("%j as a blob or a pin", async (digest) => {
    const one = await bench.store();
    const bad = { code: "invalid_request", message: expect.stringContaining("64 hex digits") as string };
    await expect(one.hasBlob(digest)).rejects.toMatchObject(bad);
    await expect(one.putBlob(digest, (async function* () {})(), never)).rejects.toMatchObject(bad);
    if (digest !== "") await expect(pull(one, `tiny:1b@${digest}`)).rejects.toMatchObject({ code: "invalid_request" });
    expect(await bench.files()).toEqual([]);
  });
});

describe("a manifest that lies", () => {
  test("about a size that is smaller: not a byte more is written", async () => {
    const content = ggufOf(300_000);
    registry.model("library/tiny", "1b", [{ content, size: 1_000 }]);
    expect(await refused("tiny:1b")).toMatchObject({
      code: "bad_model",
      message: expect.stringMatching(/its manifest says 1000 bytes, the server has \d+/) as string,
    });
  });

  test("about a size that is larger", async () => {
    const content = ggufOf(300_000);
    registry.model("library/tiny", "1b", [{ content, size: content.length + 1 }]);
    expect(await refused("tiny:1b")).toMatchObject({ code: "bad_model" });
  });

  test("about a size that no disk has: before a byte is fetched", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000), size: 2 ** 52 }]);
    expect(await refused("tiny:1b")).toMatchObject({
      code: "store_full",
      message: expect.stringMatching(/\d+ bytes free, \d+ more are needed/) as string,
    });
    expect(registry.served()).toBe(0);
  });

  test("about a digest: another file's bytes", async () => {
    const content = ggufOf(300_000, 1);
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000, 2), digest: `sha256:${sha256(content)}` }]);
    expect(await refused("tiny:1b")).toMatchObject({
      code: "bad_model",
      message: expect.stringContaining("want sha256:") as string,
    });
  });

  test.each([
    ["not JSON", "<html>"],
    ["an index of several", JSON.stringify({ schemaVersion: 2, manifests: [] })],
    [
      "no weights",
      JSON.stringify({
        schemaVersion: 2,
        config: { mediaType: "x", digest: `sha256:${"a".repeat(64)}`, size: 1 },
        layers: [],
      }),
    ],
  ])("%s", async (_, text) => {
    registry.manifest("library/tiny", "1b", text);
    expect(await refused("tiny:1b")).toMatchObject({ code: "bad_model" });
  });

  test.each([
    { size: -1 },
    { size: 1.5 },
    { size: "9" },
    { mediaType: "" },
    { annotations: { "org.opencontainers.image.title": "../../x.gguf" } },
  ])("%j", async (layer) => {
    registry.manifest("library/tiny", "1b", manifestOf(layer));
    expect(await refused("tiny:1b")).toMatchObject({ code: "bad_model" });
  });

  test("longer than any", async () => {
    registry.manifest("library/tiny", "1b", " ".repeat(5_000_000));
    expect(await refused("tiny:1b")).toMatchObject({
      code: "bad_model",
      message: expect.stringContaining("longer than") as string,
    });
  });
});

describe("a file that is no model, by its true digest", () => {
  const whole = wholeGguf();
  test.each([
    ["nothing", Buffer.alloc(0)],
    ["text", Buffer.from("not a model at all")],
    ["cut short", whole.subarray(0, whole.length - 100)],
    ["cut in its header", whole.subarray(0, 40)],
    [
      "a header that claims more than there is",
      Buffer.concat([whole.subarray(0, 8), Buffer.alloc(8, 0xff), whole.subarray(16)]),
    ],
  ])("%s", async (_, content) => {
    registry.model("library/tiny", "1b", [{ content }]);
    expect(await refused("tiny:1b")).toMatchObject({
      code: "bad_model",
      message: expect.stringContaining("no usable GGUF file") as string,
    });
  });

  test("safetensors whose tensors lie outside", async () => {
    const header = Buffer.from(JSON.stringify({ a: { dtype: "F32", shape: [4], data_offsets: [0, 16] } }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    registry.hub("org/tiny", { "model.safetensors": Buffer.concat([length, header, Buffer.alloc(8)]) });
    const hub = { hub: { url: registry.url } };
    expect(await refused("hf.co/org/tiny:safetensors", {}, hub)).toMatchObject({ code: "bad_model" });
    registry.hub("org/tiny", { "model.safetensors": Buffer.concat([length, header, Buffer.alloc(16)]) });
    const one = await bench.store(hub);
    await pull(one, "hf.co/org/tiny:safetensors");
    expect((await one.list())[0]?.facts).toMatchObject({
      format: "safetensors",
      parameterSize: "0.0M",
      quantization: "F32",
    });
  });
});

describe("a download that changes half-way", () => {
  test("is one clear error, and begins anew next time", async () => {
    const [old, fresh] = [ggufOf(300_000, 1), ggufOf(300_000, 2)];
    registry.file("/tiny.gguf", old);
    registry.faults.changeAfter = { bytes: 100_000, to: fresh };
    const options = { source: `${registry.url}/tiny.gguf` };
    expect(await refused("tiny:1b", options, { webDigest: "optional" })).toMatchObject({
      code: "bad_model",
      message: expect.stringContaining("changed while it was downloaded") as string,
    });
    const one = await bench.store({ webDigest: "optional" });
    await pull(one, "tiny:1b", options);
    expect(await one.facts("tiny:1b")).toMatchObject({ digest: sha256(fresh) });
  });

  test("between two attempts too", async () => {
    const [old, fresh] = [ggufOf(300_000, 1), ggufOf(300_000, 2)];
    registry.file("/tiny.gguf", old);
    registry.faults.status = (_, times) => (times > 2 ? 500 : undefined);
    const one = await bench.store({ webDigest: "optional" });
    const options = { source: `${registry.url}/tiny.gguf` };
    await expect(pull(one, "tiny:1b", options)).rejects.toMatchObject({ code: "pull_failed" });
    registry.faults.status = undefined;
    registry.file("/tiny.gguf", fresh);
    expect(await refused("tiny:1b", options, { webDigest: "optional" })).toMatchObject({ code: "bad_model" });
    await pull(one, "tiny:1b", options);
    expect(await one.facts("tiny:1b")).toMatchObject({ digest: sha256(fresh) });
  });

  test("of a blob with a digest is its digest's error", async () => {
    const [old, fresh] = [ggufOf(300_000, 1), ggufOf(300_000, 2)];
    registry.model("library/tiny", "1b", [{ content: old }]);
    registry.faults.changeAfter = { bytes: 100_000, to: fresh };
    expect(await refused("tiny:1b")).toMatchObject({ code: "bad_model" });
    registry.faults.changeAfter = undefined;
    const one = await bench.store();
    await pull(one, "tiny:1b");
    expect(await one.facts("tiny:1b")).toMatchObject({ digest: sha256(old) });
  });
});

describe("what there is no room for", () => {
  test("a model larger than the memory is refused by name, with both figures, before it is fetched", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(3_000_000) }]);
    const one = await bench.store({}, { memoryBytes: 2_097_152 });
    await expect(pull(one, "tiny:1b")).rejects.toMatchObject({
      code: "model_too_large",
      message: expect.stringMatching(/^tiny:1b needs at least 2\.9 MiB of memory, 2\.0 MiB may be used/) as string,
    });
    expect([registry.served(), await bench.files()]).toEqual([0, []]);
  });

  test("a disk without room is a clear error with both figures, before a byte is fetched", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000) }]);
    expect(await refused("tiny:1b", {}, { reserveBytes: 2 ** 52 })).toMatchObject({ code: "store_full" });
    expect(registry.served()).toBe(0);
  });

  test("the budget: what was not used for longest goes, never what is loaded or pinned", async () => {
    for (const [name, seed] of [
      ["a", 1],
      ["b", 2],
      ["c", 3],
      ["d", 4],
    ] as const)
      registry.model(`library/${name}`, "1", [{ content: ggufOf(300_000, seed) }]);
    const gone: string[] = [];
    const one = await bench.store(
      { storeMaxBytes: 1_000_000, pinned: ["a:1"] },
      { removed: (name) => gone.push(name) },
    );
    for (const name of ["a:1", "b:1", "c:1"]) await pull(one, name);
    const held = await one.weights("b:1", never);
    await pull(one, "d:1");
    expect(gone).toEqual(["c:1"]);
    await pull(one, "c:1");
    expect(gone).toEqual(["c:1", "d:1"]);
    const full = await bench.store({ storeMaxBytes: 1_000_000, pinned: ["a:1", "c:1"] });
    await expect(pull(full, "d:1")).rejects.toMatchObject({
      code: "store_full",
      message: expect.stringMatching(/storeMaxBytes 1000000; \d+ are missing/) as string,
    });
    expect((await one.list()).map(({ name }) => name)).toEqual(["a:1", "b:1", "c:1"]);
    held.release();
  });
});

describe("a store that was damaged", () => {
  test("serves nothing from a byte that is another, and says so of each model", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000) }]);
    registry.model("library/good", "1b", [{ content: ggufOf(300_000, 2) }]);
    const one = await bench.store();
    await pull(one, "tiny:1b");
    await pull(one, "good:1b");
    const weights = await one.weights("tiny:1b", never);
    const { path } = weights;
    weights.release();
    const file = await open(path, "r+");
    await file.write(Buffer.from([(await readFile(path))[250_000]! ^ 1]), 0, 1, 250_000);
    await file.close();
    await expect(one.weights("tiny:1b", never)).rejects.toMatchObject({
      code: "bad_model",
      message: expect.stringContaining("the store is damaged") as string,
    });
    const found = [];
    for await (const each of one.verify(undefined, never)) found.push([each.name, each.flaw === undefined]);
    expect(found).toEqual([
      ["good:1b", true],
      ["tiny:1b", false],
    ]);
  });

  test("asks for the same bytes again where its own are shorter", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000) }]);
    const one = await bench.store();
    await pull(one, "tiny:1b");
    const weights = await one.weights("tiny:1b", never);
    const { path } = weights;
    weights.release();
    await truncate(path, 1_000);
    await expect(one.weights("tiny:1b", never)).rejects.toThrow();
    expect(await one.has("tiny:1b")).toBe(false);
    await pull(one, "tiny:1b");
    expect((await stat(path)).size).toBe(ggufOf(300_000).length);
  });
});
