import { FAULTS } from "../../contracts/errors.ts";
import { type Dialect, OLLAMA_DIALECT } from "../../support/http.ts";
import { NATIVE_DIALECT } from "./native-error.ts";

/** Error object of the OpenAI API. */
export const OPENAI_DIALECT: Dialect = {
  body: (fault) => ({
    error: { message: fault.message, type: FAULTS[fault.code].openaiType, param: null, code: fault.code },
  }),
};

/** How errors of a path are written: each API has its own shape. */
export function dialectOf(path: string): Dialect {
  if (path.startsWith("/api/")) return OLLAMA_DIALECT;
  return path.startsWith("/v1/") && !/^\/v1\/(ask|conversations)(\/|$)/.test(path) ? OPENAI_DIALECT : NATIVE_DIALECT;
}
