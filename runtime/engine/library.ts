/** What a model was given beside its weights, by whoever made it; a request's own words win over them. */
export interface ModelSettings {
  system?: string;
  /** Chat template in the words of its maker. Absent: the one in the weights' file. */
  template?: string;
  /** Such as `{ temperature: 0.2, stop: ["<|end|>"] }`, with Ollama's names. */
  parameters?: Readonly<Record<string, unknown>>;
  license?: string;
  /** Model that it was made from. */
  from?: string;
}

/** What is known of a model without loading it. */
export interface ModelFacts {
  /** SHA-256 of the weights, 64 hex digits. Absent for a local file until its first load has read it whole. */
  digest?: string;
  sizeBytes: number;
  /** Such as `gguf` or `safetensors`. */
  format: string;
  family: string;
  /** Such as `1.2B`. */
  parameterSize: string;
  /** Such as `Q4_K_M`. */
  quantization: string;
  contextTokens: number;
  /** Absent where the model has none. */
  settings?: ModelSettings;
}

/** A step of bringing or making a model: what happens now, and for a file its bytes as they arrive. */
export interface PullStep {
  status: string;
  /** `sha256:` and 64 hex digits. */
  digest?: string;
  totalBytes?: number;
  completedBytes?: number;
}

/** One model that is there. */
export interface LibraryEntry {
  name: string;
  facts: ModelFacts;
  modifiedAt: Date;
}

/** What may go along with a pull. */
export interface PullOptions {
  /** SHA-256 that the weights must have, 64 hex digits. Absent: as the source says. */
  digest?: string;
  /** Where it comes from, such as `hf.co/org/repo:Q4_K_M`. Absent: the place that the name itself means. */
  source?: string;
  /** Quantization profile, such as `Q4_K_M`. Absent: as the source or its tag says. */
  profile?: string;
  /** Leaves the download; it goes on where others wait for it. */
  signal: AbortSignal;
}

/** What a model is made from: exactly one of `path`, `files` and `from`, and what is laid over it. */
export interface CreateSource {
  /** A GGUF or safetensors file on this machine. */
  path?: string;
  /** File names and the digests under which their bytes were put, `sha256:` and 64 hex digits. */
  files?: Readonly<Record<string, string>>;
  /** Another model of this library. */
  from?: string;
  settings?: ModelSettings;
}

/** Which models are there, and the verbs that change it. */
export interface Library {
  /** All of them, by name. */
  list(): Promise<readonly LibraryEntry[]>;
  /** Facts of a model that is there, without reading its weights; undefined when it would have to be pulled first. */
  facts(name: string): Promise<ModelFacts | undefined>;
  /** Brings a model. @throws Fault unknown_model when there is none, not_supported where nothing can be brought */
  pull(name: string, options: PullOptions): AsyncIterable<PullStep>;
  /** Makes a model. @throws Fault invalid_request, unknown_model, not_supported */
  create(name: string, source: CreateSource, signal: AbortSignal): AsyncIterable<PullStep>;
  /** A second name for a model. @throws Fault unknown_model, not_supported */
  copy(from: string, to: string): Promise<void>;
  /** Takes a name away, and the weights with the last one. @throws Fault unknown_model, not_supported */
  remove(name: string): Promise<void>;
  /** Whether bytes with that digest (`sha256:…`) are there. Absent where none are kept. */
  hasBlob?(digest: string): Promise<boolean>;
  /** Keeps bytes for a later `create`. @throws Fault invalid_request when they have another digest */
  putBlob?(digest: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}

/** A model's weights as a file that stays until it is released. */
export interface Weights {
  path: string;
  /** With the digest. */
  facts: ModelFacts & { digest: string };
  release(): void;
}

/** A library whose models are files on this machine. */
export interface WeightsLibrary extends Library {
  /**
   * A model's file for a load: its header was checked, its digest is known.
   * @throws Fault unknown_model; GgufError for a file that lies about itself
   */
  weights(name: string, signal: AbortSignal): Promise<Weights>;
}
