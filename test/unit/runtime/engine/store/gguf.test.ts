import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GgufError, type GgufFacts, readGguf } from "../../../../../runtime/engine/store/gguf.ts";
import { GgufBytes, wholeGguf } from "../../../../support/gguf-bytes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "gguf-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(bytes: Buffer): Promise<GgufFacts> {
  const path = join(folder, "model.gguf");
  await writeFile(path, bytes);
  const file = await open(path);
  try {
    return await readGguf(file);
  } finally {
    await file.close();
  }
}

/** Bytes as a file of the memory, which notes whether anybody asks for what lies behind its end. */
function inMemory(bytes: Buffer): { file: Parameters<typeof readGguf>[0]; past: () => boolean } {
  let past = false;
  const file = {
    stat: () => Promise.resolve({ size: bytes.length }),
    read: (target: Buffer, at: number, length: number, from: number) => {
      past ||= from + length > bytes.length || from < 0 || at + length > target.length;
      const bytesRead = bytes.copy(target, at, from, Math.min(bytes.length, from + length));
      return Promise.resolve({ bytesRead, buffer: target });
    },
  };
  return { file: file as unknown as Parameters<typeof readGguf>[0], past: () => past };
}

test("a whole file says what it is", async () => {
  expect(await read(wholeGguf())).toEqual({
    architecture: "llama",
    name: "tiny",
    parameters: 64 * 4 + 64,
    quantization: "Q8_0",
    contextTokens: 2048,
    tensors: 2,
  });
});

const head = (): GgufBytes => new GgufBytes().raw(Buffer.from("GGUF")).u32(3);
const tensor = (name: string): GgufBytes => head().u64(1).u64(0).text(name);

describe("a file that lies is refused by the field that lies", () => {
  test.each<[string, Buffer, RegExp]>([
    ["empty", Buffer.alloc(0), /magic: the file ends at byte 0/],
    ["no GGUF", Buffer.from("GGML and more than that"), /magic: the file does not begin with GGUF/],
    [
      "old version",
      new GgufBytes().raw(Buffer.from("GGUF")).u32(1).u64(0).u64(0).bytes(),
      /version: got 1, want 2 or 3/,
    ],
    [
      "huge tensor count",
      head()
        .u64(1n << 63n)
        .u64(0)
        .bytes(),
      /tensor count: got 9223372036854775808, which no file can hold/,
    ],
    ["many tensors", head().u64(1_000_000).u64(0).bytes(), /tensor count: got 1000000, want at most 65536/],
    ["key beyond the end", head().u64(0).u64(1).u64(1_000).bytes(), /metadata key: the file ends/],
    [
      "endless text",
      head()
        .u64(0)
        .u64(1)
        .text("k")
        .u32(8)
        .u64(1n << 40n)
        .bytes(),
      /k: got 1099511627776 bytes/,
    ],
    ["unknown value type", head().u64(0).u64(1).text("k").u32(99).u64(0).bytes(), /k: type 99 is unknown/],
    [
      "array longer than the file",
      head()
        .u64(0)
        .u64(1)
        .text("k")
        .u32(9)
        .u32(4)
        .u64(1 << 30)
        .bytes(),
      /k: got 1073741824 elements/,
    ],
    [
      "arrays of arrays of arrays",
      head().u64(0).u64(1).text("k").u32(9).u32(9).u64(1).u32(9).u64(1).u32(9).u64(1).u32(4).u64(0).bytes(),
      /nest deeper/,
    ],
    ["five dimensions", tensor("t").u32(5).bytes(), /tensor t: got 5 dimensions/],
    [
      "size overflows",
      tensor("t")
        .u32(2)
        .u64(1n << 40n)
        .u64(1n << 40n)
        .bytes(),
      /tensor t: its size is no number/,
    ],
    ["no values", tensor("t").u32(1).u64(0).u32(0).u64(0).bytes(), /tensor t: its size is no number/],
    ["unknown tensor type", tensor("t").u32(1).u64(32).u32(77).u64(0).bytes(), /tensor t: type 77 is unknown/],
    [
      "rows that no block fits",
      tensor("t").u32(1).u64(33).u32(8).u64(0).bytes(),
      /tensor t: rows of 33, want a multiple of 32/,
    ],
    ["crooked offset", tensor("t").u32(1).u64(32).u32(0).u64(7).bytes(), /tensor t: offset 7 is not aligned/],
    [
      "ends behind the file",
      tensor("t")
        .u32(1)
        .u64(1 << 20)
        .u32(0)
        .u64(0)
        .bytes(),
      /tensor t: it ends behind the end of the file/,
    ],
    ["cut short", wholeGguf().subarray(0, wholeGguf().length - 1), /it is cut short/],
  ])("%s", async (_, bytes, message) => {
    const refused = read(bytes);
    await expect(refused).rejects.toThrow(GgufError);
    await expect(refused).rejects.toThrow(message);
  });

  test("a tensor named twice", async () => {
    const one = (file: GgufBytes): GgufBytes => file.text("t").u32(1).u64(32).u32(0).u64(0);
    await expect(
      read(
        one(one(head().u64(2).u64(0)))
          .raw(Buffer.alloc(1_024))
          .bytes(),
      ),
    ).rejects.toThrow("tensor t: named twice");
  });
});

test("of 100,000 broken headers each is read or refused, and none is read past its end", async () => {
  const whole = wholeGguf();
  const header = whole.length - 528;
  let state = 20_260_101;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 4_294_967_296) * below);
  };
  let refused = 0;
  for (let i = 0; i < 100_000; i++) {
    let bytes = Buffer.from(whole);
    for (let change = 0; change <= next(4); change++) {
      const at = next(header);
      if (next(3) === 0)
        bytes.writeBigUInt64LE(
          [0n, 1n, 0xffff_ffff_ffff_ffffn, 1n << 63n, 1n << 31n][next(5)] ?? 0n,
          Math.min(at, header - 8),
        );
      else bytes[at] = next(256);
    }
    if (next(4) === 0) bytes = bytes.subarray(0, next(bytes.length));
    const { file, past } = inMemory(bytes);
    try {
      await readGguf(file);
    } catch (error) {
      if (!(error instanceof GgufError)) throw new Error(`case ${i}: ${String(error)}`, { cause: error });
      refused++;
    }
    if (past()) throw new Error(`case ${i}: read past the end`);
  }
  expect(refused).toBeGreaterThan(50_000);
}, 180_000);
