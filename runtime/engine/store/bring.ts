import { Fault } from "../../core/fault.ts";
import type { CreateSource, ModelSettings, PullStep } from "../library.ts";
import { configText, factsOf, settingsOf, settingsTexts } from "./assemble.ts";
import type { Blobs, Bringing } from "./blobs.ts";
import { hexOf, shown } from "./digest.ts";
import { inspectWeights } from "./inspect.ts";
import type { StoreFolder } from "./layout.ts";
import { kindOf, LAYER, type Layer } from "./manifest.ts";
import { requireFits } from "./memory-fit.ts";
import type { ModelName } from "./name.ts";
import { digestsOf, type Records } from "./records.ts";
import type { Piece, Resolved, Resolver } from "./resolve.ts";
import type { Source } from "./source.ts";

/** What bringing a model works with. */
export interface Workshop {
  folder: StoreFolder;
  records: Records;
  blobs: Blobs;
  resolver: Resolver;
  /** A name as people write it. */
  show(name: ModelName): string;
  /** Memory that a model may take, bytes. Absent: models are kept whatever they need. */
  memoryBytes?: number;
}

/** A pull, read and checked. */
export interface PullTask {
  name: ModelName;
  source: Source;
  /** Digest of the weights or of the manifest, 64 hex digits. */
  hex?: string;
  profile?: string;
}

/** How often a pull begins again because another process removed what it had just found. */
const MOST_TRIES = 3;

type Tell = (step: PullStep) => void;

/** Brings a model from its place and registers it. Until all of it is here and checked, its name means what it meant before. */
export async function pullModel(task: PullTask, shop: Workshop, tell: Tell, signal: AbortSignal): Promise<void> {
  const what = shop.show(task.name);
  tell({ status: "pulling manifest" });
  const resolved = await shop.resolver.resolve(task.source, task, signal);
  requirePin(task, resolved, what);
  const weights = resolved.pieces.filter(isWeights);
  const bytes = weights.reduce((sum, { from }) => sum + ("path" in from ? 0 : (from.size ?? 0)), 0);
  if (shop.memoryBytes !== undefined) requireFits(what, bytes, shop.memoryBytes);
  for (let tries = 1; ; tries++) {
    const layers: Layer[] = [];
    try {
      for (const piece of resolved.pieces) layers.push(await bringPiece(piece, task, shop, what, tell, signal));
      tell({ status: "verifying sha256 digest" });
      const settings = await settingsOf(shop.folder, { layers }, what);
      if (await register(task.name, layers, settings, resolved, shop, tell, signal)) return;
    } catch (error) {
      await throwAway(error, layers, shop);
      throw error;
    }
    if (tries === MOST_TRIES)
      throw new Fault("pull_failed", `${what}: its bytes were removed ${tries} times before it could be registered`);
  }
}

/** What came with bytes that are no model is of no use: unless another model needs it, it goes. */
async function throwAway(error: unknown, layers: readonly Layer[], { records }: Workshop): Promise<void> {
  if (!(error instanceof Fault) || !["bad_model", "model_too_large"].includes(error.code)) return;
  const digests = new Set(layers.map(({ digest }) => digest.slice("sha256:".length)));
  await records.collect(new AbortController().signal, digests).catch(() => undefined);
}

/** Makes a model from files that are here, or from another model, with settings laid over it. */
export async function createModel(
  name: ModelName,
  source: CreateSource,
  from: ModelName | undefined,
  shop: Workshop,
  tell: Tell,
  signal: AbortSignal,
): Promise<void> {
  const what = shop.show(name);
  const { path, files, settings } = source;
  const given = [path, files, source.from].filter((one) => one !== undefined);
  if (given.length !== 1)
    throw new Fault("invalid_request", `create ${what}: want exactly one of a file's path, files and from`);
  let layers: Layer[] = [];
  let before: ModelSettings | undefined;
  if (from !== undefined) {
    const record = await shop.records.read(from);
    if (record === undefined) throw new Fault("unknown_model", `model '${shop.show(from)}' not found`);
    tell({ status: "using existing layers" });
    layers = record.manifest.layers;
    before = record.manifest.settings ?? (await settingsOf(shop.folder, record.manifest, what));
  } else if (path !== undefined) {
    const mediaType = /\.safetensors$/i.test(path) ? LAYER.safetensors : LAYER.model;
    layers = [await bringPiece({ mediaType, from: { path } }, { name }, shop, what, tell, signal)];
  } else {
    layers = await uploaded(files ?? {}, shop, what);
  }
  const inherited = before ?? {};
  const merged: ModelSettings = {
    ...inherited,
    ...settings,
    ...(inherited.parameters === undefined && settings?.parameters === undefined
      ? {}
      : { parameters: { ...inherited.parameters, ...settings?.parameters } }),
    ...(from === undefined ? {} : { from: shop.show(from) }),
  };
  // What is laid over a model replaces the texts that it came with.
  const kept = layers.filter((layer) => kindOf(layer) !== "text");
  for (const [mediaType, text] of settingsTexts(merged)) kept.push(await keepText(mediaType, text, shop, signal));
  const isBare = Object.keys(merged).length === 0;
  const origin = { origin: from === undefined ? "created" : `from ${shop.show(from)}` };
  try {
    if (await register(name, kept, isBare ? undefined : merged, origin, shop, tell, signal)) return;
  } catch (error) {
    await throwAway(error, kept, shop);
    throw error;
  }
  throw new Fault("invalid_request", `create ${what}: what it is made from was removed meanwhile`);
}

/** Files whose bytes were put before. @throws Fault invalid_request for one that was not */
async function uploaded(files: Readonly<Record<string, string>>, shop: Workshop, what: string): Promise<Layer[]> {
  const layers: Layer[] = [];
  for (const [title, digest] of Object.entries(files)) {
    const hex = hexOf(digest, `digest of ${shown(title)}`);
    if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(title))
      throw new Fault(
        "invalid_request",
        `create ${what}: got the file name ${shown(title)}, want a plain name such as model.gguf`,
      );
    const size = await shop.blobs.has(hex);
    if (size === undefined)
      throw new Fault(
        "invalid_request",
        `create ${what}: no bytes with ${digest} are here; put them with POST /api/blobs/${digest} first`,
      );
    const companion = /\.(json|model|txt)$/i.test(title);
    const mediaType = companion
      ? "application/vnd.gorkheavy.image.file"
      : /\.safetensors$/i.test(title)
        ? LAYER.safetensors
        : LAYER.model;
    layers.push({ mediaType, digest, size, title });
  }
  return layers;
}

/** A pin is the digest of the weights or of the registry's manifest. What is known before anything is fetched is compared then. */
function requirePin({ hex }: PullTask, { pieces, manifestHex, origin }: Resolved, what: string): void {
  if (hex === undefined || hex === manifestHex) return;
  const digests = pieces.filter(isWeights).map(({ from }) => ("path" in from ? hex : from.hex));
  if (digests.includes(hex)) return;
  const has = digests.map((one) => (one === undefined ? "weights of unknown digest" : `sha256:${one}`)).join(", ");
  throw new Fault("bad_model", `${what}: pinned to sha256:${hex}, ${origin} has ${has}`);
}

function isWeights(piece: Pick<Layer, "mediaType" | "title">): boolean {
  return kindOf({ ...piece, digest: "", size: 0 }) === "weights";
}

async function bringPiece(
  piece: Piece,
  { name, hex }: Pick<PullTask, "name" | "hex">,
  { blobs, memoryBytes }: Workshop,
  what: string,
  tell: Tell,
  signal: AbortSignal,
): Promise<Layer> {
  const { from, mediaType, title } = piece;
  const bringing: Bringing = {
    signal,
    tell,
    keep: name,
    check: async (path) => {
      if (!isWeights(piece)) return;
      const { sizeBytes } = await inspectWeights({ path, layer: piece, what });
      if (memoryBytes !== undefined) requireFits(what, sizeBytes, memoryBytes);
    },
  };
  const brought =
    "path" in from
      ? await blobs.importFile(from.path, isWeights(piece) ? hex : undefined, bringing)
      : await blobs.fetch(from, bringing);
  return { mediaType, digest: `sha256:${brought.hex}`, size: brought.bytes, ...(title === undefined ? {} : { title }) };
}

async function keepText(mediaType: string, text: string, { blobs }: Workshop, signal: AbortSignal): Promise<Layer> {
  const bytes = Buffer.from(text);
  const { hex } = await blobs.importBytes(
    (async function* () {
      yield bytes;
    })(),
    { what: mediaType, size: bytes.length },
    { signal, tell: () => undefined, check: () => Promise.resolve() },
  );
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
}

/** @returns false when bytes of it were removed meanwhile */
async function register(
  name: ModelName,
  layers: readonly Layer[],
  settings: ModelSettings | undefined,
  { origin, manifestHex }: Pick<Resolved, "origin" | "manifestHex">,
  shop: Workshop,
  tell: Tell,
  signal: AbortSignal,
): Promise<boolean> {
  const what = shop.show(name);
  const facts = await factsOf(shop.folder, { layers: [...layers] }, what);
  if (shop.memoryBytes !== undefined) requireFits(what, facts.sizeBytes, shop.memoryBytes);
  const config = await keepText(LAYER.config, configText(facts, layers), shop, signal);
  tell({ status: "writing manifest" });
  const before = await shop.records.read(name).catch(() => undefined);
  const isThere = await shop.records.put(
    name,
    {
      config,
      layers: [...layers],
      facts,
      name: what,
      source: origin,
      ...(settings === undefined ? {} : { settings }),
      ...(manifestHex === undefined ? {} : { pulledHex: manifestHex }),
    },
    signal,
  );
  if (isThere && before !== undefined) await shop.records.collect(signal, new Set(digestsOf(before)));
  return isThere;
}
