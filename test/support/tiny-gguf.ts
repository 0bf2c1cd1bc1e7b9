import { writeFile } from "node:fs/promises";
import { GgufBytes } from "./gguf-bytes.ts";

/** Shape of the model: the smallest that llama.cpp takes. */
const SIZE = 32;
const HEADS = 2;
const FFN = 64;
const ALIGNMENT = 32;

/** Marks of the chat template, before the 256 tokens that are single bytes. */
const MARKS = ["<|end|>", "<|user|>", "<|assistant|>"];
const TEMPLATE =
  "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% elif m.role == 'assistant' %}<|assistant|>{{ m.content }}<|end|>{% endif %}{% endfor %}<|assistant|>";

/** Printable stand-ins of the 256 bytes, as byte-level vocabularies write them. Source: GPT-2's encoder.py, bytes_to_unicode. */
export function byteTokens(): string[] {
  const shown = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let hidden = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(shown(byte) ? byte : 256 + hidden++));
}

/**
 * Writes a model of one layer with random weights: it says nonsense, the same at every call, but every part of the way to its words is
 * the one that real models take.
 */
export async function writeTinyGguf(path: string): Promise<void> {
  const tokens = [...MARKS, ...byteTokens()];
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296 - 0.5;
  };
  const tensors: { name: string; shape: number[]; values: () => number }[] = [
    { name: "token_embd.weight", shape: [SIZE, tokens.length], values: random },
    { name: "output_norm.weight", shape: [SIZE], values: () => 1 },
    { name: "blk.0.attn_norm.weight", shape: [SIZE], values: () => 1 },
    { name: "blk.0.ffn_norm.weight", shape: [SIZE], values: () => 1 },
    ...["attn_q", "attn_k", "attn_v", "attn_output"].map((part) => ({
      name: `blk.0.${part}.weight`,
      shape: [SIZE, SIZE],
      values: random,
    })),
    { name: "blk.0.ffn_gate.weight", shape: [SIZE, FFN], values: random },
    { name: "blk.0.ffn_up.weight", shape: [SIZE, FFN], values: random },
    { name: "blk.0.ffn_down.weight", shape: [FFN, SIZE], values: random },
  ];
  const pairs: ((file: GgufBytes) => GgufBytes)[] = [
    (f) => f.text("general.architecture").u32(8).text("llama"),
    (f) => f.text("general.name").u32(8).text("tiny"),
    ...(
      [
        ["llama.context_length", 1024],
        ["llama.embedding_length", SIZE],
        ["llama.block_count", 1],
        ["llama.feed_forward_length", FFN],
        ["llama.attention.head_count", HEADS],
        ["llama.attention.head_count_kv", HEADS],
        ["llama.rope.dimension_count", SIZE / HEADS],
        ["tokenizer.ggml.eos_token_id", 0],
        ["tokenizer.ggml.bos_token_id", 0],
        ["general.file_type", 0],
      ] as const
    ).map(
      ([key, value]) =>
        (f: GgufBytes) =>
          f.text(key).u32(4).u32(value),
    ),
    (f) => f.text("llama.attention.layer_norm_rms_epsilon").u32(6).f32(1e-5),
    (f) => f.text("tokenizer.ggml.model").u32(8).text("gpt2"),
    (f) => f.text("tokenizer.ggml.pre").u32(8).text("gpt-2"),
    (f) =>
      f
        .text("tokenizer.ggml.add_bos_token")
        .u32(7)
        .raw(Buffer.from([0])),
    (f) => f.text("tokenizer.chat_template").u32(8).text(TEMPLATE),
    (f) =>
      tokens.reduce(
        (file, token) => file.text(token),
        f.text("tokenizer.ggml.tokens").u32(9).u32(8).u64(tokens.length),
      ),
    (f) =>
      tokens.reduce(
        (file, token) => file.u32(MARKS.includes(token) ? 3 : 1),
        f.text("tokenizer.ggml.token_type").u32(9).u32(5).u64(tokens.length),
      ),
    (f) => f.text("tokenizer.ggml.merges").u32(9).u32(8).u64(1).text("a b"),
  ];
  const file = new GgufBytes().raw(Buffer.from("GGUF")).u32(3).u64(tensors.length).u64(pairs.length);
  for (const pair of pairs) pair(file);
  let offset = 0;
  const numbersOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
  for (const { name, shape } of tensors) {
    file.text(name).u32(shape.length);
    for (const length of shape) file.u64(length);
    file.u32(0).u64(offset);
    offset += Math.ceil((numbersOf(shape) * 4) / ALIGNMENT) * ALIGNMENT;
  }
  file.align(ALIGNMENT);
  for (const { shape, values } of tensors) {
    const data = Buffer.alloc(numbersOf(shape) * 4);
    for (let i = 0; i < data.length; i += 4) data.writeFloatLE(values(), i);
    file.raw(data).align(ALIGNMENT);
  }
  await writeFile(path, file.bytes());
}
