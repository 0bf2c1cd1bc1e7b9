/** Widths and depths of a model, as its maker publishes them. */
export interface Shape {
  /** Name of the real model that has this shape, or of none. */
  name: string;
  /** Architecture as llama.cpp and Ollama know it. */
  architecture: "granite" | "llama" | "qwen2" | "qwen3" | "gemma3";
  layers: number;
  /** Width of the residual stream. */
  width: number;
  heads: number;
  /** Heads of keys and values. */
  keyHeads: number;
  /** Numbers in one head. */
  headWidth: number;
  /** Width of the gated layer between. */
  feedForward: number;
  /** Tokens in the vocabulary. */
  vocabulary: number;
  /** Tokens of the window that it was trained for. */
  window: number;
  ropeBase: number;
}

/**
 * The shapes of the five models of the ensemble. Sources: `config.json` of ibm-granite/granite-4.0-350m, meta-llama/Llama-3.2-1B,
 * Qwen/Qwen2.5-Coder-1.5B, Qwen/Qwen3-0.6B and google/gemma-3-1b-pt on Hugging Face. All five have their output tied to their embedding.
 * granite4:350m is the dense one of its family, whose tensors are those of the architecture `granite`.
 */
export const SHAPES: readonly Shape[] = [
  {
    ...{ name: "granite4:350m", architecture: "granite", layers: 28, width: 1024, heads: 16, keyHeads: 4 },
    ...{ headWidth: 64, feedForward: 2048, vocabulary: 100_352, window: 32_768, ropeBase: 10_000_000 },
  },
  {
    ...{ name: "llama3.2:1b", architecture: "llama", layers: 16, width: 2048, heads: 32, keyHeads: 8 },
    ...{ headWidth: 64, feedForward: 8192, vocabulary: 128_256, window: 131_072, ropeBase: 500_000 },
  },
  {
    ...{ name: "qwen2.5-coder:1.5b", architecture: "qwen2", layers: 28, width: 1536, heads: 12, keyHeads: 2 },
    ...{ headWidth: 128, feedForward: 8960, vocabulary: 151_936, window: 32_768, ropeBase: 1_000_000 },
  },
  {
    ...{ name: "qwen3:0.6b", architecture: "qwen3", layers: 28, width: 1024, heads: 16, keyHeads: 8 },
    ...{ headWidth: 128, feedForward: 3072, vocabulary: 151_936, window: 40_960, ropeBase: 1_000_000 },
  },
  {
    ...{ name: "gemma3:1b", architecture: "gemma3", layers: 26, width: 1152, heads: 4, keyHeads: 1 },
    ...{ headWidth: 256, feedForward: 6912, vocabulary: 262_144, window: 32_768, ropeBase: 1_000_000 },
  },
];

/** A shape of no real model: some 4 million parameters, so that a load takes little and fifty answers a second are possible on one core. */
export const SMALL: Shape = {
  ...{ name: "small", architecture: "llama", layers: 4, width: 256, heads: 4, keyHeads: 4 },
  ...{ headWidth: 64, feedForward: 512, vocabulary: 1_024, window: 2_048, ropeBase: 10_000 },
};

/** A tensor: its name in a GGUF file, its lengths, and whether it is a matrix, which is quantized, or a vector of ones. */
export interface TensorShape {
  name: string;
  lengths: readonly number[];
}

/** All tensors of a shape. Source: llama.cpp, src/llama-arch.cpp and src/models. */
export function tensorsOf(shape: Shape): TensorShape[] {
  const { architecture, width, heads, keyHeads, headWidth, feedForward } = shape;
  const normsOfHeads = architecture === "qwen3" || architecture === "gemma3";
  const layer = (index: number): TensorShape[] => {
    const block = (name: string, ...lengths: number[]): TensorShape => ({
      name: `blk.${index}.${name}`,
      lengths,
    });
    return [
      block("attn_norm.weight", width),
      block("attn_q.weight", width, heads * headWidth),
      block("attn_k.weight", width, keyHeads * headWidth),
      block("attn_v.weight", width, keyHeads * headWidth),
      block("attn_output.weight", heads * headWidth, width),
      ...(architecture === "qwen2"
        ? [
            block("attn_q.bias", heads * headWidth),
            block("attn_k.bias", keyHeads * headWidth),
            block("attn_v.bias", keyHeads * headWidth),
          ]
        : []),
      ...(normsOfHeads ? [block("attn_q_norm.weight", headWidth), block("attn_k_norm.weight", headWidth)] : []),
      ...(architecture === "gemma3"
        ? [block("post_attention_norm.weight", width), block("post_ffw_norm.weight", width)]
        : []),
      block("ffn_norm.weight", width),
      block("ffn_gate.weight", width, feedForward),
      block("ffn_up.weight", width, feedForward),
      block("ffn_down.weight", feedForward, width),
    ];
  };
  return [
    { name: "token_embd.weight", lengths: [width, shape.vocabulary] },
    { name: "output_norm.weight", lengths: [width] },
    ...Array.from({ length: shape.layers }, (_, index) => layer(index)).flat(),
  ];
}

/** Numbers in a tensor. */
export function numbersIn({ lengths }: TensorShape): number {
  return lengths.reduce((a, b) => a * b, 1);
}
