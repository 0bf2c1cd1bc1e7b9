import type { Readable } from "node:stream";
import { z } from "zod";
import { OllamaError } from "../contracts/ollama.ts";
import { OpenAiError } from "../contracts/openai.ts";
import { BROKEN_CONNECTION } from "./error-code.ts";
import { jsonOf } from "./json.ts";

/** Longest part of a server's error text that goes into a message, characters. */
export const ERROR_CHARS = 300;

/** Largest document of a server that is read: lists of models are some kilobytes, errors less. */
const DOCUMENT_BYTES = 1_048_576;

const BROKEN = new Set(BROKEN_CONNECTION);

/** The text of a body, cut at the largest document there is: a server that fails may send without end. Nothing is left of the body after it. */
export async function textOf(body: Readable): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  // One that is left early ends in an error that nobody has to hear.
  body.on("error", () => undefined);
  for await (const part of body as AsyncIterable<Buffer>) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= DOCUMENT_BYTES) break;
  }
  return Buffer.concat(parts).toString("utf8", 0, DOCUMENT_BYTES);
}

/** A server's own words for an error, in the Ollama or the OpenAI dialect; undefined when the text is neither. */
export function errorWords(text: string): string | undefined {
  const json = jsonOf(text);
  const ollama = OllamaError.safeParse(json);
  if (ollama.success) return ollama.data.error.slice(0, ERROR_CHARS);
  const openai = OpenAiError.safeParse(json);
  return openai.success ? openai.data.error.message.slice(0, ERROR_CHARS) : undefined;
}

/** Where a path of an API is; the base address may have a path of its own. */
export function target(base: string, path: string): { origin: string; path: string } {
  const { origin, pathname } = new URL(base);
  return { origin, path: `${pathname.replace(/\/$/, "")}${path}` };
}

/** Why a call failed, in a word such as `ECONNRESET`, and whether the connection could not be made or broke. */
export function callFailure(error: unknown): { what: string; unreachable: boolean } {
  const code = codeOf(error);
  return {
    what: code ?? (error instanceof Error ? error.name : "failed"),
    unreachable: code !== undefined && BROKEN.has(code),
  };
}

/** The code of an error or of one of its causes. */
function codeOf(error: unknown): string | undefined {
  const parsed = z.looseObject({ code: z.string() }).safeParse(error);
  if (parsed.success) return parsed.data.code;
  return error instanceof Error && error.cause !== undefined ? codeOf(error.cause) : undefined;
}
