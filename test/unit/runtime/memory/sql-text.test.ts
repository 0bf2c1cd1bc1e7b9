import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const RUNTIME = join(import.meta.dirname, "../../../../runtime");

/** Where text that is not a template of `sql` may reach a database: the two adapters, and the migrations' own files. */
const ADAPTERS = ["memory/postgres.ts", "memory/pglite.ts", "memory/pglite-worker.ts"];

/** Ways in which a file could send text of its own making. @param text of the file */
function ownText(path: string, text: string): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const sqlLike = /\b(SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM|DROP|ALTER|TRUNCATE)\s+[a-z("*$]/;
    const tagged = ts.isTaggedTemplateExpression(node.parent ?? node);
    if ((ts.isTemplateExpression(node) || ts.isStringLiteralLike(node)) && !tagged && sqlLike.test(node.getText(file)))
      found.push(`${path}: SQL outside of a template of sql: ${node.getText(file).slice(0, 60)}`);
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const name = node.expression.name.text;
      if (!ADAPTERS.includes(path) && ["unsafe", "exec", "query", "raw"].includes(name) && path.startsWith("memory/"))
        found.push(`${path}: .${name}(…)`);
    }
    if (
      ts.isCallExpression(node) &&
      ts.isIdentifier(node.expression) &&
      ["sql", "script"].includes(node.expression.text)
    )
      if (path !== "memory/migrations.ts" || node.expression.text === "sql")
        found.push(`${path}: ${node.expression.text}(…) called, not tagged`);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test("no SQL is put together from strings", () => {
  const files = readdirSync(RUNTIME, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  expect(files).toContain("memory/sql-store.ts");
  const found = files.flatMap((name) =>
    ownText(relative(RUNTIME, join(RUNTIME, name)), readFileSync(join(RUNTIME, name), "utf8")),
  );
  expect(found).toEqual([]);
});

test.each([
  "const t = `SELECT ${a} FROM x`;",
  'sql("SELECT" + a);',
  'client.unsafe("x");',
  "script(`x`);",
  "const t = 'DELETE FROM gorkheavy.turns WHERE id = ' + id;",
])("this test sees %s", (text) => {
  expect(ownText("memory/x.ts", text)).not.toEqual([]);
});
