import { readFile } from "node:fs/promises";
import { type EnsembleConfig, EnsembleConfigSchema, parseEnsembleConfig } from "../contracts/ensemble-config.ts";
import { OllamaTags } from "../contracts/ollama.ts";

/** Where Ollama listens on a laptop. Source: Ollama FAQ. */
const LOCAL_OLLAMA = "http://127.0.0.1:11434";

/** Time for the local Ollama to answer, ms. */
const LOCAL_MS = 2_000;

/** Reads the configuration file. @throws Error naming the file and what is wrong in it */
export async function loadConfig(file: string): Promise<EnsembleConfig> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
    throw new Error(`--config ${file}: cannot be read (${code}); give the path of a YAML or JSON file`, { cause });
  }
  return parseEnsembleConfig(text, file);
}

/** Roles for the models of one server, by what small models are good at: the smallest rewrites, up to three answer, the first judges. */
export function configFromModels(url: string, models: readonly { name: string; size: number }[]): EnsembleConfig {
  const bySize = models.filter(({ name }) => !/embed/i.test(name)).toSorted((a, b) => a.size - b.size);
  const names = bySize.map(({ name }) => name);
  const smallest = names[0];
  const judge = names.find((name) => name.startsWith("gemma")) ?? names.at(-1);
  if (smallest === undefined || judge === undefined)
    throw new Error(`${url} has no model; pull one, for example: ollama pull llama3.2:1b`);
  const others = names.filter((name) => name !== judge && (name !== smallest || names.length < 4));
  const candidates = (others.length === 0 ? names : others).slice(-3);
  const member = (role: "rewriter" | "candidate" | "judge", name: string, index: number) => ({
    name: role === "candidate" ? `candidate-${index + 1}` : role,
    role,
    url,
    model: name,
    prompt: role === "candidate" && index === 0 && candidates.length > 2 ? ("rewritten" as const) : ("raw" as const),
  });
  return EnsembleConfigSchema.parse({
    members: [
      ...(candidates.length > 2 ? [member("rewriter", smallest, 0)] : []),
      ...candidates.map((name, index) => member("candidate", name, index)),
      ...(candidates.length > 1 ? [member("judge", judge, 0)] : []),
    ],
  });
}

/** An ensemble of what the Ollama on this machine has. @throws Error that says what to do when there is none */
export async function discoverLocal(
  url = LOCAL_OLLAMA,
  fetch: typeof globalThis.fetch = globalThis.fetch,
): Promise<EnsembleConfig> {
  let body: unknown;
  try {
    const response = await fetch(`${url}/api/tags`, { signal: AbortSignal.timeout(LOCAL_MS) });
    body = await response.json();
  } catch (cause) {
    throw new Error(`no --config was given and no Ollama answers at ${url}; give --config FILE, or start Ollama`, {
      cause,
    });
  }
  const tags = OllamaTags.safeParse(body);
  if (!tags.success) throw new Error(`no --config was given and ${url} is no Ollama; give --config FILE`);
  return configFromModels(
    url,
    tags.data.models.map(({ name, size }) => ({ name, size: size ?? 0 })),
  );
}
