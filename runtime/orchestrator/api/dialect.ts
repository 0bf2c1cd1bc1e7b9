import { type Dialect, OLLAMA_DIALECT } from "../../support/http.ts";
import { OPENAI_DIALECT } from "../../support/openai-chat.ts";
import { NATIVE_DIALECT } from "./native-error.ts";

/** How errors of a path are written: each API has its own shape. */
export function dialectOf(path: string): Dialect {
  if (path.startsWith("/api/")) return OLLAMA_DIALECT;
  return path.startsWith("/v1/") && !/^\/v1\/(ask|conversations)(\/|$)/.test(path) ? OPENAI_DIALECT : NATIVE_DIALECT;
}
