import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");

/** The README's code blocks of one language, in order. */
async function blocks(language: string): Promise<string[]> {
  const text = await readFile(join(root, "README.md"), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(
    (match) => match[1] ?? "",
  );
}

test("the README's examples are one program that type-checks", async () => {
  const snippets = await blocks("ts");
  expect(snippets.length).toBeGreaterThanOrEqual(6);
  for (const snippet of snippets) expect(snippet.trim().split("\n").length).toBeLessThanOrEqual(18);
  const file = join(root, "test/contract/readme-example.ts");
  const config = ts.readConfigFile(join(root, "tsconfig.json"), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
  const host = ts.createCompilerHost({ ...options, noUnusedLocals: false });
  const read = host.readFile.bind(host);
  const exists = host.fileExists.bind(host);
  const source = host.getSourceFile.bind(host);
  host.fileExists = (path) => path === file || exists(path);
  host.readFile = (path) => (path === file ? snippets.join("\n") : read(path));
  host.getSourceFile = (path, languageVersion, ...rest) =>
    path === file
      ? ts.createSourceFile(path, snippets.join("\n"), languageVersion)
      : source(path, languageVersion, ...rest);
  const program = ts.createProgram([file], { ...options, noUnusedLocals: false }, host);
  const problems = ts
    .getPreEmitDiagnostics(program, program.getSourceFile(file))
    .map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
  expect(problems).toEqual([]);
}, 120_000);

test("the README's npm commands exist", async () => {
  const scripts = Object.keys(
    (JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { scripts: object }).scripts,
  );
  const called = (await blocks("sh")).join("\n").matchAll(/npm run (\S+)/g);
  expect([...called].map((match) => match[1]).filter((name) => !scripts.includes(name ?? ""))).toEqual([]);
});
