import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeMachine } from "./machine.ts";

const FILE = join(import.meta.dirname, "RESULTS.md");

/** A document with the section of that title replaced, or put at its end when there is none. The body has no title of its own. */
export function withSection(markdown: string, title: string, body: string): string {
  const section = `## ${title}\n\n${body.trim()}\n`;
  const lines = markdown.split("\n");
  const start = lines.indexOf(`## ${title}`);
  if (start < 0) return `${markdown.trimEnd()}\n\n${section}`;
  const length = lines.slice(start + 1).findIndex((line) => line.startsWith("## "));
  const before = lines.slice(0, start).join("\n").trimEnd();
  const after = length < 0 ? "" : `\n${lines.slice(start + 1 + length).join("\n")}`;
  return `${before}\n\n${section}${after}`;
}

/** Writes one benchmark's section of RESULTS.md: its command, the day, the machine, then its tables. */
export async function writeResults(title: string, command: string, body: string): Promise<void> {
  const day = new Date().toISOString().slice(0, 10);
  const text = `\`${command}\`, ${day}: ${describeMachine()}.\n\n${body}`;
  await writeFile(FILE, withSection(await readFile(FILE, "utf8"), title, text));
}
