import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FileLibrary } from "../../../../../runtime/engine/store/file-library.ts";
import { wholeGguf } from "../../../../support/gguf-bytes.ts";

const never = new AbortController().signal;
let folder: string;
let path: string;
let library: FileLibrary;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "files-"));
  path = join(folder, "tiny.gguf");
  await writeFile(path, wholeGguf());
  library = new FileLibrary(new Map([["tiny:1", path]]));
});
afterAll(() => rm(folder, { recursive: true }));

const digestOf = async (): Promise<string> =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

test("knows a file by its header, and its digest from its first load on", async () => {
  const [entry] = await library.list();
  expect(entry).toMatchObject({ name: "tiny:1", facts: { format: "gguf", family: "llama", quantization: "Q8_0" } });
  expect(entry?.facts.digest).toBeUndefined();
  const weights = await library.weights("tiny:1", never);
  expect(weights).toMatchObject({ path, facts: { digest: await digestOf() } });
  expect((await library.facts("tiny:1"))?.digest).toBe(await digestOf());
  expect(await library.facts("other:1")).toBeUndefined();
});

test("reads a file again that was changed", async () => {
  await library.weights("tiny:1", never);
  await writeFile(path, Buffer.concat([wholeGguf(), Buffer.alloc(32)]));
  await utimes(path, new Date(), new Date(Date.now() + 5_000));
  expect((await library.facts("tiny:1"))?.digest).toBeUndefined();
  expect((await library.weights("tiny:1", never)).facts.digest).toBe(await digestOf());
});

test("changes nothing, and says with what it would", async () => {
  await expect(library.copy()).rejects.toMatchObject({
    code: "not_supported",
    message: expect.stringContaining("--store") as string,
  });
  await expect(library.remove()).rejects.toMatchObject({ code: "not_supported" });
  await expect(library.weights("other:1", never)).rejects.toMatchObject({ code: "unknown_model" });
});
