import { mkdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ModelStoreSchema } from "../../../../../runtime/contracts/model-store-config.ts";
import type { CreateSource } from "../../../../../runtime/engine/library.ts";
import { openLibrary } from "../../../../../runtime/engine/store/joined-library.ts";
import { tryLock } from "../../../../../runtime/engine/store/lock.ts";
import { ModelStore } from "../../../../../runtime/engine/store/store.ts";
import { ggufOf, wholeGguf } from "../../../../support/gguf-bytes.ts";
import { type Registry, sha256 } from "../../../../support/registry.ts";
import { pull, type StoreBench, startStoreBench } from "../../../../support/store.ts";

const never = new AbortController().signal;

let bench: StoreBench;
let registry: Registry;
let one: ModelStore;
beforeEach(async () => {
  bench = await startStoreBench();
  ({ registry } = bench);
  one = await bench.store();
});
afterEach(() => bench.close());

async function create(name: string, source: CreateSource): Promise<string[]> {
  const said: string[] = [];
  for await (const { status } of one.create(name, source, never)) said.push(status);
  return said;
}

async function* bytesOf(...parts: Buffer[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

describe("create", () => {
  test("from a file, with what is laid over it", async () => {
    const path = join(bench.folder, "x.gguf");
    await writeFile(path, wholeGguf());
    await create("mine:1", { path, settings: { system: "Be brief.", parameters: { temperature: 0 } } });
    expect(await one.facts("mine:1")).toMatchObject({
      digest: sha256(wholeGguf()),
      settings: { system: "Be brief.", parameters: { temperature: 0 } },
    });
  });

  test("from bytes that were put by their digest, in pieces", async () => {
    const whole = wholeGguf();
    const digest = `sha256:${sha256(whole)}`;
    expect(await one.hasBlob(digest)).toBe(false);
    await one.putBlob(digest, bytesOf(whole.subarray(0, 100), whole.subarray(100)), never);
    expect(await one.hasBlob(digest)).toBe(true);
    await create("mine:1", { files: { "x.gguf": digest } });
    expect((await one.facts("mine:1"))?.digest).toBe(sha256(whole));
  });

  test("from another model: its bytes are shared, its settings changed one by one", async () => {
    registry.model("library/tiny", "1b", [
      { content: wholeGguf() },
      { content: Buffer.from('{"temperature":0.5,"seed":1}'), mediaType: "application/vnd.ollama.image.params" },
      { content: Buffer.from("Be kind."), mediaType: "application/vnd.ollama.image.system" },
    ]);
    await pull(one, "tiny:1b");
    await create("mine:1", {
      from: "tiny:1b",
      settings: { parameters: { temperature: 0 }, template: "{{ .Prompt }}" },
    });
    expect((await one.facts("mine:1"))?.settings).toEqual({
      system: "Be kind.",
      parameters: { temperature: 0, seed: 1 },
      template: "{{ .Prompt }}",
      from: "tiny:1b",
    });
    expect((await one.facts("tiny:1b"))?.settings).toEqual({
      system: "Be kind.",
      parameters: { temperature: 0.5, seed: 1 },
    });
    expect((await bench.files()).filter((name) => name === `sha256-${sha256(wholeGguf())}`)).toHaveLength(1);
  });

  test.each<[string, CreateSource, string]>([
    ["nothing", {}, "invalid_request"],
    ["two things", { path: "/x", from: "y" }, "invalid_request"],
    ["a model that is not there", { from: "nobody:1" }, "unknown_model"],
    ["a file that is not there", { path: "/nowhere/x.gguf" }, "invalid_request"],
    ["a folder", { path: "/" }, "invalid_request"],
    ["bytes that were not put", { files: { "x.gguf": `sha256:${"a".repeat(64)}` } }, "invalid_request"],
    ["a digest that is none", { files: { "x.gguf": "sha256:../x" } }, "invalid_request"],
    ["a file name with a path", { files: { "../x.gguf": `sha256:${"a".repeat(64)}` } }, "invalid_request"],
  ])("of %s is refused, and nothing is left", async (_, source, code) => {
    await expect(create("mine:1", source)).rejects.toMatchObject({ code });
    expect(await bench.files()).toEqual([]);
  });

  test("of bytes that are no model is refused, and they go", async () => {
    const text = Buffer.from("no model");
    await one.putBlob(`sha256:${sha256(text)}`, bytesOf(text), never);
    await expect(create("mine:1", { files: { "x.gguf": `sha256:${sha256(text)}` } })).rejects.toMatchObject({
      code: "bad_model",
    });
    expect(await bench.files()).toEqual([]);
  });

  test("of bytes under another digest: nothing stays", async () => {
    await expect(one.putBlob(`sha256:${"a".repeat(64)}`, bytesOf(Buffer.from("x")), never)).rejects.toMatchObject({
      code: "invalid_request",
    });
    expect(await bench.files()).toEqual([]);
  });
});

describe("names", () => {
  test("are copied, and bytes of two stay until the last is gone", async () => {
    registry.model("library/tiny", "1b", [{ content: wholeGguf() }]);
    await pull(one, "tiny:1b");
    await one.copy("tiny:1b", "me/mine:2");
    await one.remove("TINY:1b");
    expect((await one.list()).map(({ name }) => name)).toEqual(["me/mine:2"]);
    (await one.weights("me/mine:2", never)).release();
    await one.remove("me/mine:2");
    expect(await bench.files()).toEqual([]);
    for (const gone of [
      () => one.remove("tiny:1b"),
      () => one.copy("tiny:1b", "x:1"),
      () => one.weights("tiny:1b", never),
    ])
      await expect(gone()).rejects.toMatchObject({ code: "unknown_model" });
  });

  test("that are removed while the model is loaded leave its bytes until it is not", async () => {
    registry.model("library/tiny", "1b", [{ content: wholeGguf() }]);
    await pull(one, "tiny:1b");
    const { path, release } = await one
      .weights("tiny:1b", never)
      .then((held) => ({ ...held, release: () => held.release() }));
    await one.remove("tiny:1b");
    expect((await stat(path)).size).toBe(wholeGguf().length);
    release();
    await utimes(path, new Date(0), new Date(0));
    await expect.poll(() => one.collect(never)).toBeGreaterThan(0);
    await expect(stat(path)).rejects.toThrow("ENOENT");
  });

  test("and a manifest that nobody can read: it is not served, and takes no other's bytes with it", async () => {
    registry.model("library/tiny", "1b", [{ content: wholeGguf() }]);
    await pull(one, "tiny:1b");
    const manifest = join(bench.folder, "manifests", registry.host, "library/broken/1");
    await mkdir(join(manifest, ".."), { recursive: true });
    await writeFile(manifest, "{");
    expect((await one.list()).map(({ name }) => name)).toEqual(["tiny:1b"]);
    await expect(one.weights("broken:1", never)).rejects.toMatchObject({ code: "bad_model" });
    await one.remove("broken:1");
    (await one.weights("tiny:1b", never)).release();
  });
});

describe("the folder", () => {
  test("is swept of what crashed writers left, and of nothing else", async () => {
    const old = new Date(Date.now() - 30 * 86_400_000);
    const blobs = join(bench.folder, "blobs");
    const leave = async (name: string, when: Date): Promise<void> => {
      await writeFile(join(blobs, name), "x");
      await utimes(join(blobs, name), when, when);
    };
    await leave("a.tmp", old);
    await leave("b.tmp", new Date());
    await leave(`sha256-${"a".repeat(64)}.partial`, old);
    await leave(`sha256-${"a".repeat(64)}.partial.json`, old);
    await leave(`sha256-${"b".repeat(64)}.partial`, new Date());
    await leave(`sha256-${"c".repeat(64)}`, old);
    await leave(`sha256-${"d".repeat(64)}`, new Date());
    await bench.store();
    expect(await bench.files()).toEqual(["b.tmp", `sha256-${"b".repeat(64)}.partial`, `sha256-${"d".repeat(64)}`]);
  });

  test("of a setting that says so is only read, and says so of each verb", async () => {
    registry.model("library/tiny", "1b", [{ content: wholeGguf() }]);
    await pull(one, "tiny:1b");
    const before = await bench.files();
    const readOnly = await bench.store({ readOnly: true });
    (await readOnly.weights("tiny:1b", never)).release();
    const forbidden = { code: "forbidden", message: expect.stringContaining("open for reading only") as string };
    for (const change of [
      () => pull(readOnly, "tiny:1b"),
      () => readOnly.copy("tiny:1b", "x:1"),
      () => readOnly.remove("tiny:1b"),
      () => readOnly.putBlob(`sha256:${"a".repeat(64)}`, bytesOf(), never),
      () => readOnly.collect(never),
    ])
      await expect(change()).rejects.toMatchObject(forbidden);
    expect(await bench.files()).toEqual(before);
  });

  test("that cannot be is a clear error", async () => {
    await writeFile(join(bench.folder, "file"), "");
    await expect(ModelStore.open(join(bench.folder, "file/x"))).rejects.toThrow(/--store .*file\/x: /);
  });

  test("of Ollama itself is read: manifests without what this store writes down", async () => {
    registry.model("library/tiny", "1b", [{ content: wholeGguf() }]);
    await pull(one, "tiny:1b");
    const path = join(bench.folder, "manifests", registry.host, "library/tiny/1b");
    const written = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    await writeFile(path, JSON.stringify({ ...written, annotations: undefined }));
    expect(await one.facts("tiny:1b")).toMatchObject({ family: "llama", digest: sha256(wholeGguf()) });
  });
});

describe("a lock", () => {
  test("has one owner; that of a process that is gone is taken over, and the one who lost it is told", async () => {
    const path = join(bench.folder, "x.lock");
    const held = await tryLock(path);
    expect(await tryLock(path)).toBeUndefined();
    await held?.release();
    const again = await tryLock(path);
    const owner = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    // A number that no process of this machine has.
    await writeFile(path, JSON.stringify({ ...owner, pid: 4_194_305, token: "other" }));
    const taken = await Promise.all(Array.from({ length: 8 }, () => tryLock(path)));
    expect(taken.filter((one) => one !== undefined)).toHaveLength(1);
    await expect.poll(() => again?.lost.aborted, { timeout: 15_000 }).toBe(true);
    await again?.release();
    expect(await tryLock(path)).toBeUndefined();
    for (const one of taken) await one?.release();
    await rm(path, { force: true });
  });

  test("of another machine is taken over when it has been silent for long", async () => {
    const path = join(bench.folder, "x.lock");
    await writeFile(path, JSON.stringify({ token: "t", machine: "elsewhere", pid: 1, ticks: "1" }));
    expect(await tryLock(path)).toBeUndefined();
    await utimes(path, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
    expect(await tryLock(path)).toBeDefined();
  });
});

describe("an engine's library", () => {
  test("has the files that it was started with before the store's models, and does not change them", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(1_000) }]);
    await pull(one, "tiny:1b");
    const path = join(bench.folder, "x.gguf");
    await writeFile(path, wholeGguf());
    const library = await openLibrary(new Map([["named:1", path]]), bench.folder, {
      settings: { registry: registry.host },
    });
    expect((await library.list()).map(({ name }) => name)).toEqual(["named:1", "tiny:1b"]);
    await expect(library.remove("named:1")).rejects.toMatchObject({ code: "not_supported" });
    await library.remove("tiny:1b");
    expect((await library.list()).map(({ name }) => name)).toEqual(["named:1"]);
  });
});

test("settings have the defaults that they say", () => {
  expect(ModelStoreSchema.parse({})).toMatchObject({
    registry: "registry.ollama.ai",
    webDigest: "required",
    chunkBytes: 67_108_864,
    verifyAtLoad: true,
    profiles: { Q4_K_M: { quantizations: ["Q4_K_M"] }, Q8_0: {}, F16: { quantizations: ["F16", "BF16"] } },
  });
  expect(ModelStoreSchema.safeParse({ hosts: { x: { url: "https://u:p@x" } } }).success).toBe(false);
});
