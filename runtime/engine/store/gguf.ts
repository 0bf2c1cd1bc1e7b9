import type { FileHandle } from "node:fs/promises";

/** A file that is no GGUF, or one that lies about itself. The message names the field. */
export class GgufError extends Error {
  override readonly name = "GgufError";
}

/** What a GGUF file says of itself. */
export interface GgufFacts {
  /** Such as `llama`. */
  architecture: string;
  /** Absent where the file names none. */
  name?: string;
  /** Numbers in all tensors. */
  parameters: number;
  /** Such as `Q4_K_M`; `unknown` for a number that is not in the table. */
  quantization: string;
  /** Window that the model was trained for, tokens. 0 where the file does not say. */
  contextTokens: number;
  tensors: number;
}

/** Bytes that a value of each type takes; strings (8) and arrays (9) say it themselves. Source: ggml's docs/gguf.md, version 3. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const STRING = 8;
const ARRAY = 9;

/** Numbers in a block and bytes of a block, by tensor type. Source: ggml's ggml.c, type_traits. */
const BLOCKS: Readonly<Record<number, readonly [numbers: number, bytes: number]>> = {
  0: [1, 4], // F32
  1: [1, 2], // F16
  2: [32, 18], // Q4_0
  3: [32, 20], // Q4_1
  6: [32, 22], // Q5_0
  7: [32, 24], // Q5_1
  8: [32, 34], // Q8_0
  9: [32, 36], // Q8_1
  10: [256, 84], // Q2_K
  11: [256, 110], // Q3_K
  12: [256, 144], // Q4_K
  13: [256, 176], // Q5_K
  14: [256, 210], // Q6_K
  15: [256, 292], // Q8_K
  16: [256, 66], // IQ2_XXS
  17: [256, 74], // IQ2_XS
  18: [256, 98], // IQ3_XXS
  19: [256, 50], // IQ1_S
  20: [32, 18], // IQ4_NL
  21: [256, 110], // IQ3_S
  22: [256, 82], // IQ2_S
  23: [256, 136], // IQ4_XS
  24: [1, 1], // I8
  25: [1, 2], // I16
  26: [1, 4], // I32
  27: [1, 8], // I64
  28: [1, 8], // F64
  29: [256, 56], // IQ1_M
  30: [1, 2], // BF16
  34: [256, 54], // TQ1_0
  35: [256, 66], // TQ2_0
  39: [32, 17], // MXFP4
};

/** Names of `general.file_type`. Source: llama.cpp's llama.h, enum llama_ftype. */
const FILE_TYPES: Readonly<Record<number, string>> = {
  0: "F32",
  1: "F16",
  2: "Q4_0",
  3: "Q4_1",
  7: "Q8_0",
  8: "Q5_0",
  9: "Q5_1",
  10: "Q2_K",
  11: "Q3_K_S",
  12: "Q3_K_M",
  13: "Q3_K_L",
  14: "Q4_K_S",
  15: "Q4_K_M",
  16: "Q5_K_S",
  17: "Q5_K_M",
  18: "Q6_K",
  19: "IQ2_XXS",
  20: "IQ2_XS",
  24: "IQ1_S",
  25: "IQ4_NL",
  30: "IQ4_XS",
  32: "BF16",
  38: "MXFP4",
};

/** Most of each that a header may name: far above any model, far below what would fill the memory. */
const MOST = { pairs: 65_536, tensors: 65_536, nameBytes: 65_536, stringBytes: 16_777_216, dimensions: 4 } as const;
/** Longest header, bytes: vocabularies of the largest models take some 20 MB. */
const MOST_HEADER_BYTES = 134_217_728;
const READ_BYTES = 262_144;
const DEFAULT_ALIGNMENT = 32;

/**
 * Reads and checks a GGUF file's header: every length, count and offset that it claims must lie within the file.
 * @throws GgufError naming the field that is wrong
 */
export async function readGguf(file: FileHandle): Promise<GgufFacts> {
  const { size } = await file.stat();
  const reader = new Reader(file, size);
  if ((await reader.u32("magic")) !== 0x46554747) throw new GgufError("magic: the file does not begin with GGUF");
  const version = await reader.u32("version");
  if (version !== 2 && version !== 3) throw new GgufError(`version: got ${version}, want 2 or 3`);
  const tensors = await reader.count("tensor count", MOST.tensors);
  const pairs = await reader.count("metadata count", MOST.pairs);
  const known = new Map<string, string | number>();
  for (let i = 0; i < pairs; i++) {
    const key = await reader.text("metadata key", MOST.nameBytes);
    const value = await reader.value(key, await reader.u32(`type of ${key}`), 0);
    if (value !== undefined) known.set(key, value);
  }
  const alignment = Number(known.get("general.alignment") ?? DEFAULT_ALIGNMENT);
  if (!Number.isInteger(alignment) || alignment < 8 || alignment > 65_536 || alignment % 8 !== 0)
    throw new GgufError(`general.alignment: got ${alignment}, want a multiple of 8`);
  const { parameters, dataBytes } = await readTensors(reader, tensors, alignment);
  const dataStart = Math.ceil(reader.at / alignment) * alignment;
  if (dataStart + dataBytes > size)
    throw new GgufError(`tensors: they end at byte ${dataStart + dataBytes}, the file at ${size}; it is cut short`);
  const architecture = textOf(known.get("general.architecture")) ?? "unknown";
  const name = textOf(known.get("general.name"));
  const context = known.get(`${architecture}.context_length`);
  return {
    architecture,
    ...(name === undefined ? {} : { name }),
    parameters,
    quantization: FILE_TYPES[Number(known.get("general.file_type") ?? -1)] ?? "unknown",
    contextTokens: typeof context === "number" ? context : 0,
    tensors,
  };
}

async function readTensors(
  reader: Reader,
  tensors: number,
  alignment: number,
): Promise<{ parameters: number; dataBytes: number }> {
  let parameters = 0;
  let dataBytes = 0;
  const seen = new Set<string>();
  for (let i = 0; i < tensors; i++) {
    const name = await reader.text("tensor name", MOST.nameBytes);
    if (seen.has(name)) throw new GgufError(`tensor ${name}: named twice`);
    seen.add(name);
    const dimensions = await reader.u32(`dimensions of ${name}`);
    if (dimensions > MOST.dimensions)
      throw new GgufError(`tensor ${name}: got ${dimensions} dimensions, want at most ${MOST.dimensions}`);
    let numbers = 1;
    let row = 1;
    for (let d = 0; d < dimensions; d++) {
      const length = await reader.u64(`dimension of ${name}`);
      if (d === 0) row = length;
      numbers *= length;
      if (!Number.isSafeInteger(numbers) || numbers < 1)
        throw new GgufError(`tensor ${name}: its size is no number of values`);
    }
    const type = await reader.u32(`type of ${name}`);
    const block = BLOCKS[type];
    if (block === undefined) throw new GgufError(`tensor ${name}: type ${type} is unknown`);
    if (row % block[0] !== 0) throw new GgufError(`tensor ${name}: rows of ${row}, want a multiple of ${block[0]}`);
    const offset = await reader.u64(`offset of ${name}`);
    if (offset % alignment !== 0)
      throw new GgufError(`tensor ${name}: offset ${offset} is not aligned to ${alignment}`);
    const end = offset + (numbers / block[0]) * block[1];
    if (!Number.isSafeInteger(end) || end > reader.size)
      throw new GgufError(`tensor ${name}: it ends behind the end of the file`);
    dataBytes = Math.max(dataBytes, end);
    parameters += numbers;
  }
  return { parameters, dataBytes };
}

function textOf(value: string | number | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Reads a file from its start to wherever the header ends, never past the file's end. */
class Reader {
  readonly size: number;
  readonly #file: FileHandle;
  #buffer = Buffer.alloc(0);
  /** Where the buffer begins in the file. */
  #from = 0;
  /** What is read next. */
  at = 0;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.size = size;
  }

  async u32(field: string): Promise<number> {
    return (await this.#take(4, field)).readUInt32LE();
  }

  /** A 64-bit number that JavaScript can hold; larger ones are lies in this format. */
  async u64(field: string): Promise<number> {
    const value = (await this.#take(8, field)).readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new GgufError(`${field}: got ${value}, which no file can hold`);
    return Number(value);
  }

  async count(field: string, most: number): Promise<number> {
    const value = await this.u64(field);
    if (value > most) throw new GgufError(`${field}: got ${value}, want at most ${most}`);
    return value;
  }

  async text(field: string, most: number): Promise<string> {
    const length = await this.u64(`length of ${field}`);
    if (length > most) throw new GgufError(`${field}: got ${length} bytes, want at most ${most}`);
    return (await this.#take(length, field)).toString("utf8");
  }

  /** A value; undefined for an array, whose elements are only stepped over. */
  async value(key: string, type: number, depth: number): Promise<string | number | undefined> {
    if (type === STRING) return this.text(key, MOST.stringBytes);
    if (type !== ARRAY) return this.#scalar(key, type);
    if (depth > 1) throw new GgufError(`${key}: arrays nest deeper than two`);
    const element = await this.u32(`element type of ${key}`);
    const length = await this.u64(`length of ${key}`);
    const bytes = VALUE_BYTES[element];
    if (bytes !== undefined) {
      if (length > this.size) throw new GgufError(`${key}: got ${length} elements, more than the file has bytes`);
      this.#skip(length * bytes, key);
      return undefined;
    }
    if (element !== STRING && element !== ARRAY) throw new GgufError(`${key}: element type ${element} is unknown`);
    for (let i = 0; i < length; i++) {
      if (element === STRING) this.#skip(await this.u64(`length in ${key}`), key);
      else await this.value(key, ARRAY, depth + 1);
    }
    return undefined;
  }

  async #scalar(key: string, type: number): Promise<number> {
    const bytes = VALUE_BYTES[type];
    if (bytes === undefined) throw new GgufError(`${key}: type ${type} is unknown`);
    const raw = await this.#take(bytes, key);
    switch (type) {
      case 1:
        return raw.readInt8();
      case 2:
        return raw.readUInt16LE();
      case 3:
        return raw.readInt16LE();
      case 4:
        return raw.readUInt32LE();
      case 5:
        return raw.readInt32LE();
      case 6:
        return raw.readFloatLE();
      case 10:
        return Number(raw.readBigUInt64LE());
      case 11:
        return Number(raw.readBigInt64LE());
      case 12:
        return raw.readDoubleLE();
      default:
        return raw.readUInt8();
    }
  }

  #skip(bytes: number, field: string): void {
    if (this.at + bytes > this.size) throw this.#short(field);
    this.at += bytes;
    this.#checkLength();
  }

  async #take(bytes: number, field: string): Promise<Buffer> {
    if (this.at + bytes > this.size) throw this.#short(field);
    const start = this.at - this.#from;
    if (start < 0 || start + bytes > this.#buffer.length) {
      const length = Math.min(this.size - this.at, Math.max(bytes, READ_BYTES));
      const next = Buffer.alloc(length);
      const { bytesRead } = await this.#file.read(next, 0, length, this.at);
      if (bytesRead < bytes) throw this.#short(field);
      this.#buffer = next.subarray(0, bytesRead);
      this.#from = this.at;
    }
    const from = this.at - this.#from;
    this.at += bytes;
    this.#checkLength();
    return this.#buffer.subarray(from, from + bytes);
  }

  #checkLength(): void {
    if (this.at > MOST_HEADER_BYTES) throw new GgufError(`header: longer than ${MOST_HEADER_BYTES} bytes`);
  }

  #short(field: string): GgufError {
    return new GgufError(`${field}: the file ends at byte ${this.size}, before it; it is cut short`);
  }
}
