// `node test/support/readme-lifecycle.ts` writes the lifecycle's diagram into README.md, between its marks.
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { lifecycleDiagram } from "../../runtime/core/lifecycle/diagram.ts";

export const README = join(resolve(import.meta.dirname, "../.."), "README.md");
const BEGIN = "<!-- lifecycle: made by `node test/support/readme-lifecycle.ts` -->";
const END = "<!-- lifecycle: end -->";

/** A document with the diagram between the marks. @throws Error when it lacks one of them */
export function withLifecycle(markdown: string): string {
  const [before, , after] = split(markdown);
  return `${before}${BEGIN}\n\n\`\`\`mermaid\n${lifecycleDiagram()}\n\`\`\`\n\n${END}${after}`;
}

function split(markdown: string): [string, string, string] {
  const [begin, end] = [markdown.indexOf(BEGIN), markdown.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`README.md: want the lines "${BEGIN}" and "${END}"`);
  return [markdown.slice(0, begin), markdown.slice(begin + BEGIN.length, end), markdown.slice(end + END.length)];
}

if (import.meta.main) await writeFile(README, withLifecycle(await readFile(README, "utf8")));
