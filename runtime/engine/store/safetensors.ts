import type { FileHandle } from "node:fs/promises";
import { z } from "zod";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";

/** Longest header. Source: huggingface/safetensors, MAX_HEADER_SIZE. */
const MOST_HEADER_BYTES = 100_000_000;

/** Bits of a number by its type's name. Source: huggingface/safetensors, enum Dtype. */
const BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
};

const Size = z.int().min(0);
const TensorSchema = z.looseObject({
  dtype: z.string(),
  shape: z.array(Size).max(8),
  data_offsets: z.tuple([Size, Size]),
});

/** What a safetensors file says of itself. */
export interface SafetensorsFacts {
  /** Numbers in all tensors. */
  parameters: number;
  /** Type of most of them, such as `BF16`. */
  type: string;
}

/** Reads and checks a safetensors file's header: its tensors fill the file, without a hole and without one lying in another. @throws Fault bad_model */
export async function readSafetensors(file: FileHandle, what: string): Promise<SafetensorsFacts> {
  const bad = (why: string): Fault => new Fault("bad_model", `${what}: no safetensors file: ${why}`);
  const { size } = await file.stat();
  const head = Buffer.alloc(8);
  if ((await file.read(head, 0, 8, 0)).bytesRead < 8) throw bad("it is shorter than 8 bytes");
  const length = Number(head.readBigUInt64LE());
  if (length < 2 || length > MOST_HEADER_BYTES || length > size - 8)
    throw bad(`its header says ${length} bytes, the file has ${size}`);
  const text = Buffer.alloc(length);
  if ((await file.read(text, 0, length, 8)).bytesRead < length) throw bad("its header is cut short");
  const header = z.record(z.string(), z.unknown()).safeParse(jsonOf(text.toString("utf8"))).data;
  if (header === undefined) throw bad("its header is not JSON");
  const dataBytes = size - 8 - length;
  const byType = new Map<string, number>();
  const parts: [number, number, string][] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const tensor = TensorSchema.safeParse(value).data;
    if (tensor === undefined) throw bad(`tensor ${JSON.stringify(name.slice(0, 80))} is described wrongly`);
    const bits = BITS[tensor.dtype];
    const [from, to] = tensor.data_offsets;
    const numbers = tensor.shape.reduce((product, one) => product * one, 1);
    if (bits === undefined) throw bad(`type ${JSON.stringify(tensor.dtype.slice(0, 20))} is unknown`);
    if (!Number.isSafeInteger(numbers * bits) || to - from !== (numbers * bits) / 8)
      throw bad(`tensor ${JSON.stringify(name.slice(0, 80))}: its shape and its bytes do not fit together`);
    parts.push([from, to, name]);
    byType.set(tensor.dtype, (byType.get(tensor.dtype) ?? 0) + numbers);
  }
  let at = 0;
  for (const [from, to, name] of parts.toSorted((a, b) => a[0] - b[0] || a[1] - b[1])) {
    if (from !== at) throw bad(`tensor ${JSON.stringify(name.slice(0, 80))} begins at byte ${from}, want ${at}`);
    at = to;
  }
  if (at !== dataBytes) throw bad(`its tensors end at byte ${at}, the file's data at ${dataBytes}`);
  const [most] = [...byType].toSorted((a, b) => b[1] - a[1]);
  return { parameters: [...byType.values()].reduce((sum, one) => sum + one, 0), type: most?.[0] ?? "unknown" };
}
