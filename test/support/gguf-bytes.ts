/** Writes a GGUF file's bytes, right or wrong, for tests of its reader. */
export class GgufBytes {
  readonly #parts: Buffer[] = [];

  u32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    this.#parts.push(bytes);
    return this;
  }

  f32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.#parts.push(bytes);
    return this;
  }

  u64(value: number | bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    this.#parts.push(bytes);
    return this;
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    this.u64(bytes.length);
    this.#parts.push(bytes);
    return this;
  }

  raw(bytes: Buffer): this {
    this.#parts.push(bytes);
    return this;
  }

  /** Fills up to a multiple. */
  align(to: number): this {
    const length = this.length;
    return this.raw(Buffer.alloc(Math.ceil(length / to) * to - length));
  }

  get length(): number {
    return this.#parts.reduce((sum, part) => sum + part.length, 0);
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** A small whole file: some metadata of each kind, two tensors, and their data. */
export function wholeGguf(): Buffer {
  const file = new GgufBytes().raw(Buffer.from("GGUF")).u32(3).u64(2).u64(5);
  file.text("general.architecture").u32(8).text("llama");
  file.text("general.name").u32(8).text("tiny");
  file.text("general.file_type").u32(4).u32(7);
  file.text("llama.context_length").u32(4).u32(2048);
  file.text("tokenizer.ggml.tokens").u32(9).u32(8).u64(3).text("a").text("b").text("c");
  file.text("token_embd.weight").u32(2).u64(64).u64(4).u32(8).u64(0);
  file.text("output_norm.weight").u32(1).u64(64).u32(0).u64(288);
  return file.align(32).raw(Buffer.alloc(272)).align(32).raw(Buffer.alloc(256)).bytes();
}

/** A whole file of about so many bytes: one tensor of numbers that are told apart by the seed. */
export function ggufOf(dataBytes: number, seed = 1): Buffer {
  const rows = Math.ceil(dataBytes / 4 / 32);
  const file = new GgufBytes().raw(Buffer.from("GGUF")).u32(3).u64(1).u64(2);
  file.text("general.architecture").u32(8).text("llama");
  file.text("general.file_type").u32(4).u32(0);
  file.text("token_embd.weight").u32(2).u64(32).u64(rows).u32(0).u64(0);
  const data = Buffer.alloc(rows * 128);
  let state = seed >>> 0;
  for (let at = 0; at < data.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data.writeUInt32LE(state, at);
  }
  return file.align(32).raw(data).bytes();
}
