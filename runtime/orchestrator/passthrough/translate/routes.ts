import type { Member } from "../../../contracts/ensemble-config.ts";
import { ollamaEmbed, ollamaEmbeddings, openAiEmbeddings } from "./embeddings.ts";
import { ollamaChat, ollamaGenerate } from "./ollama-client.ts";
import { openAiChat } from "./openai-client.ts";
import type { Translation } from "./translation.ts";

const TRANSLATIONS: Readonly<
  Record<string, (bytes: Buffer, member: Member, now: () => number) => Translation | undefined>
> = {
  "/v1/chat/completions": openAiChat,
  "/v1/embeddings": openAiEmbeddings,
  "/api/chat": ollamaChat,
  "/api/generate": ollamaGenerate,
  "/api/embed": ollamaEmbed,
  "/api/embeddings": ollamaEmbeddings,
};

/** A request on this path in the other dialect; undefined where none can be made. @throws Fault invalid_request */
export function translate(path: string, bytes: Buffer, member: Member, now: () => number): Translation | undefined {
  return TRANSLATIONS[path]?.(bytes, member, now);
}
