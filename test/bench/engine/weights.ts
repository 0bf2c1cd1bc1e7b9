// `node test/bench/engine/weights.ts`: makes the random weights of all shapes in the cache, some 3 GB. Nothing is downloaded.
import { createCipheriv, createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { cached, type Report } from "../../../infra/lab/tools/cache.ts";
import { byteTokens } from "../../support/tiny-gguf.ts";
import { GgufBytes } from "../../support/gguf-bytes.ts";
import { numbersIn, SHAPES, type Shape, type TensorShape, tensorsOf } from "./shapes.ts";

/** Counts up with what is written: files of another version are other files. */
const VERSION = "1";
const ALIGNMENT = 32;
/** Bytes made and written at a time; a whole number of blocks of both kinds. */
const PART_BYTES = 18 * 34 * 8_192;

/** A way to keep a tensor's numbers. Source: ggml, ggml-common.h and gguf. */
interface Kind {
  /** Number of the type in a GGUF file. */
  type: number;
  /** Numbers in a block, and its bytes: a 16-bit float that scales, then the numbers. */
  block: number;
  blockBytes: number;
  /** Standard deviation of random numbers before they are scaled. */
  spread: number;
}
const Q4_0: Kind = { type: 2, block: 32, blockBytes: 18, spread: 4.61 };
const Q8_0: Kind = { type: 8, block: 32, blockBytes: 34, spread: 73.9 };
const F32: Kind = { type: 0, block: 1, blockBytes: 4, spread: 1 };

/** Matrices as four-bit blocks, the embedding as eight-bit ones as releases have it, vectors as they are. */
function kindOf({ name, lengths }: TensorShape): Kind {
  if (lengths.length === 1) return F32;
  return name === "token_embd.weight" ? Q8_0 : Q4_0;
}

function bytesOf(tensor: TensorShape): number {
  const { block, blockBytes } = kindOf(tensor);
  return (numbersIn(tensor) / block) * blockBytes;
}

/** The random weights of a shape, made the first time; the same bytes at every time. @returns the file */
export async function randomWeights(shape: Shape, seed: number, report: Report): Promise<string> {
  const file = `${shape.name.replaceAll(/[^a-z0-9.]/g, "-")}-${seed}.gguf`;
  const key = createHash("sha256").update(JSON.stringify(shape)).digest("hex").slice(0, 8);
  const { dir } = await cached(
    `bench-weights-${shape.name.replaceAll(/[^a-z0-9.]/g, "-")}`,
    `${VERSION}-${key}-${seed}`,
    (into, say) => {
      say(`random weights in the shape of ${shape.name}`);
      return writeWeights(join(into, file), shape, seed);
    },
    { report },
  );
  return join(dir, file);
}

/** Writes the file. @param seed other seeds, other weights */
export async function writeWeights(path: string, shape: Shape, seed: number): Promise<void> {
  const tensors = tensorsOf(shape);
  const out = await open(path, "w");
  try {
    await out.write(headerOf(shape, tensors));
    for (const [index, tensor] of tensors.entries()) await writeTensor(out, tensor, seed, index);
  } finally {
    await out.close();
  }
}

function headerOf(shape: Shape, tensors: readonly TensorShape[]): Buffer {
  const pairs = metadataOf(shape);
  const file = new GgufBytes().raw(Buffer.from("GGUF")).u32(3).u64(tensors.length).u64(pairs.length);
  for (const pair of pairs) pair(file);
  let offset = 0;
  for (const tensor of tensors) {
    file.text(tensor.name).u32(tensor.lengths.length);
    for (const length of tensor.lengths) file.u64(length);
    file.u32(kindOf(tensor).type).u64(offset);
    offset += aligned(bytesOf(tensor));
  }
  return file.align(ALIGNMENT).bytes();
}

type Pair = (file: GgufBytes) => GgufBytes;
const text =
  (key: string, value: string): Pair =>
  (file) =>
    file.text(key).u32(8).text(value);
const count =
  (key: string, value: number): Pair =>
  (file) =>
    file.text(key).u32(4).u32(value);
const real =
  (key: string, value: number): Pair =>
  (file) =>
    file.text(key).u32(6).f32(value);

/** What llama.cpp and Ollama must know of a model. Source: ggml, docs/gguf.md. */
function metadataOf(shape: Shape): Pair[] {
  const { architecture: name } = shape;
  const tokens = vocabularyOf(shape.vocabulary);
  return [
    text("general.architecture", name),
    text("general.name", `random weights in the shape of ${shape.name}`),
    // Mostly Q4_0.
    count("general.file_type", 2),
    count(`${name}.context_length`, shape.window),
    count(`${name}.embedding_length`, shape.width),
    count(`${name}.block_count`, shape.layers),
    count(`${name}.feed_forward_length`, shape.feedForward),
    count(`${name}.attention.head_count`, shape.heads),
    count(`${name}.attention.head_count_kv`, shape.keyHeads),
    count(`${name}.attention.key_length`, shape.headWidth),
    count(`${name}.attention.value_length`, shape.headWidth),
    count(`${name}.rope.dimension_count`, shape.headWidth),
    count(`${name}.vocab_size`, shape.vocabulary),
    real(`${name}.rope.freq_base`, shape.ropeBase),
    real(`${name}.attention.layer_norm_rms_epsilon`, 1e-6),
    ...(name === "gemma3" ? [count(`${name}.attention.sliding_window`, 512)] : []),
    // Multipliers of the published configuration; random weights have no use for the right ones, but they are computed with.
    ...(name === "granite"
      ? [
          real(`${name}.embedding_scale`, 12),
          real(`${name}.residual_scale`, 0.25),
          real(`${name}.attention.scale`, 0.015625),
          real(`${name}.logit_scale`, 4),
        ]
      : []),
    text("tokenizer.ggml.model", "gpt2"),
    text("tokenizer.ggml.pre", "gpt-2"),
    count("tokenizer.ggml.bos_token_id", 0),
    count("tokenizer.ggml.eos_token_id", 0),
    (file) =>
      file
        .text("tokenizer.ggml.add_bos_token")
        .u32(7)
        .raw(Buffer.from([0])),
    (file) => {
      file.text("tokenizer.ggml.tokens").u32(9).u32(8).u64(tokens.length);
      for (const token of tokens) file.text(token);
      return file;
    },
    (file) => {
      file.text("tokenizer.ggml.token_type").u32(9).u32(5).u64(tokens.length);
      // The first one is a mark, the others are words.
      for (let index = 0; index < tokens.length; index++) file.u32(index === 0 ? 3 : 1);
      return file;
    },
    (file) => file.text("tokenizer.ggml.merges").u32(9).u32(8).u64(1).text("a b"),
  ];
}

/** A mark that ends, all single bytes, and words enough: as many as the real vocabulary has. Each byte of a prompt is a token. */
function vocabularyOf(size: number): string[] {
  const first = ["<|end|>", ...byteTokens()];
  return [...first, ...Array.from({ length: size - first.length }, (_, index) => `Ġw${index}`)];
}

async function writeTensor(out: FileHandle, tensor: TensorShape, seed: number, index: number): Promise<void> {
  const kind = kindOf(tensor);
  const bytes = bytesOf(tensor);
  if (kind === F32) {
    const values = new Float32Array(numbersIn(tensor)).fill(tensor.name.endsWith("bias") ? 0 : 1);
    await out.write(Buffer.concat([Buffer.from(values.buffer), padding(bytes)]));
    return;
  }
  // Numbers that anybody makes again: a stream cipher over zeros, its key the seed, its counter the tensor's.
  const key = createHash("sha256").update(`gorkheavy random weights ${seed}`).digest().subarray(0, 16);
  const start = Buffer.alloc(16);
  start.writeUInt32BE(index, 0);
  const random = createCipheriv("aes-128-ctr", key, start);
  const [fanIn = 1] = tensor.lengths;
  const scale = half(1 / (kind.spread * Math.sqrt(fanIn)));
  for (let done = 0; done < bytes; ) {
    const part = random.update(Buffer.alloc(Math.min(PART_BYTES, bytes - done)));
    for (let at = 0; at < part.length; at += kind.blockBytes) part.writeUInt16LE(scale, at);
    done += part.length;
    await out.write(part);
  }
  await out.write(padding(bytes));
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function padding(bytes: number): Buffer {
  return Buffer.alloc(aligned(bytes) - bytes);
}

/** The bits of a number as a 16-bit float; for normal positive numbers only, which scales are. Source: IEEE 754, binary16. */
function half(value: number): number {
  const exponent = Math.floor(Math.log2(value));
  const fraction = Math.round((value / 2 ** exponent - 1) * 1024);
  return ((exponent + 15) << 10) + fraction;
}

if (import.meta.main) {
  for (const shape of SHAPES) {
    const began = performance.now();
    const file = await randomWeights(shape, 1, () => undefined);
    process.stdout.write(`${file}, ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
  }
}
