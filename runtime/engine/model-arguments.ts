import { resolve } from "node:path";

/** A model's name as Ollama has it: letters, digits and `. _ -`, path parts, and a tag. No part can climb out of a folder. */
const MODEL_NAME =
  /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,79}(\/[a-zA-Z0-9][a-zA-Z0-9._-]{0,79}){0,3}(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,79})?$/;

/**
 * Takes `--model` apart: `family:tag`, or `family:tag=FILE.gguf`.
 * @returns names in their order, and the files of those that have one
 * @throws Error for a name that is none, one given twice, or a file without a name
 */
export function modelArguments(given: readonly string[]): { names: string[]; files: Map<string, string> } {
  const files = new Map<string, string>();
  const names: string[] = [];
  for (const one of given) {
    const at = one.indexOf("=");
    const name = at === -1 ? one : one.slice(0, at);
    if (!MODEL_NAME.test(name))
      throw new Error(`--model: got "${one}", want family:tag such as llama3.2:1b, or family:tag=FILE.gguf`);
    if (names.includes(name)) throw new Error(`--model: ${name} is given twice`);
    names.push(name);
    if (at === -1) continue;
    const path = one.slice(at + 1);
    if (path === "") throw new Error(`--model: got "${one}", want a file after the =`);
    files.set(name, resolve(path));
  }
  return { names, files };
}
