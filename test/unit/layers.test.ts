import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { builtinModules } from "node:module";
import ts from "typescript";
import { expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

/** One import, export-from, `import()` or `require()` of a source file. Paths are relative to the root; packages by name. */
interface Arrow {
  from: string;
  to: string;
  /** Whether only types cross it: nothing of it is left at run time. */
  typeOnly: boolean;
}

/** Everything that one file says about others, by its syntax. */
interface Source {
  path: string;
  arrows: Arrow[];
  readsEnvironment: boolean;
}

/** Our own doors as others import them; the examples do. Source: package.json, `exports`. */
const OWN: Readonly<Record<string, string>> = {
  "gorkheavy/infra": "infra/index.ts",
  "gorkheavy/components": "components/index.ts",
  "gorkheavy/runtime/contracts": "runtime/contracts/index.ts",
};

const FOLDERS = ["infra", "components", "runtime", "stacks", "test"];

function filesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((path) => !/(^|\/)(node_modules|dist|fixtures|\.tmp)\//.test(path));
}

/** Reads one file's imports and whether it looks at the environment. @param text instead of the file's own, for tests of this test */
function read(path: string, text = readFileSync(join(ROOT, path), "utf8")): Source {
  const file = ts.createSourceFile(
    path,
    text,
    ts.ScriptTarget.Latest,
    true,
    path.endsWith(".mjs") ? ts.ScriptKind.JS : ts.ScriptKind.TS,
  );
  const arrows: Arrow[] = [];
  let readsEnvironment = false;
  const note = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const { text: name } = specifier;
    const to = name.startsWith(".")
      ? relative(ROOT, resolve(ROOT, dirname(path), name))
      : (OWN[name] ?? packageOf(name));
    arrows.push({ from: path, to, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) note(node.moduleSpecifier, node.importClause?.isTypeOnly ?? false);
    else if (ts.isExportDeclaration(node)) note(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) note(node.argument.literal, true);
    else if (ts.isCallExpression(node)) {
      const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
      const isRequire = ts.isIdentifier(node.expression) && /^require$/.test(node.expression.text);
      if (isImport || isRequire) note(node.arguments[0], false);
    } else if (
      ts.isPropertyAccessExpression(node) &&
      node.name.text === "env" &&
      node.expression.getText(file) === "process"
    ) {
      readsEnvironment = true;
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  const importsEnvironment = arrows.some((arrow) => arrow.to === "node:process");
  return { path, arrows, readsEnvironment: readsEnvironment || importsEnvironment };
}

function packageOf(specifier: string): string {
  if (specifier.startsWith("node:") || builtinModules.includes(specifier))
    return specifier.replace(/^(node:)?/, "node:");
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** The layer of a path of ours; undefined for a package. `infra/lab` is a layer of its own, since it is no component. */
function layerOf(path: string): string | undefined {
  const [top, second] = path.split("/");
  if (top === undefined || !FOLDERS.includes(top)) return undefined;
  if (top === "infra") return second === "lab" ? "infra/lab" : "infra";
  if (top === "runtime") return second === undefined || second.includes(".") ? "runtime" : `runtime/${second}`;
  if (top === "test") return "test";
  return top;
}

/** Which layers each may use beside itself. `infra/lab` is on top of all: it drives the stacks, packs the runtime, talks by its chat, teaches its models what the core asks, and measures them in the engine. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  stacks: ["infra", "components", "runtime/contracts"],
  components: ["runtime/contracts"],
  infra: [],
  "infra/lab": ["stacks", "runtime", "runtime/contracts", "runtime/core", "runtime/engine", "runtime/orchestrator"],
  // What wires the parts of the runtime into one program.
  runtime: ["runtime/contracts", "runtime/core", "runtime/support", "runtime/engine", "runtime/orchestrator"],
  // Its questions and answers are remembered there.
  "runtime/orchestrator": ["runtime/contracts", "runtime/core", "runtime/support", "runtime/memory"],
  "runtime/contracts": [],
  "runtime/core": ["runtime/contracts"],
  "runtime/support": ["runtime/contracts", "runtime/core"],
};
const OTHER_RUNTIME: readonly string[] = ["runtime/contracts", "runtime/core", "runtime/support"];

function allowed(from: string, to: string): boolean {
  if (from === to || from === "test") return true;
  return (ALLOWED[from] ?? (from.startsWith("runtime/") ? OTHER_RUNTIME : [])).includes(to);
}

/** Arrows of the tree that point the wrong way, in words. */
function wrongArrows(sources: readonly Source[]): string[] {
  return sources.flatMap(({ arrows }) =>
    arrows.flatMap(({ from, to }) => {
      const [here, there] = [layerOf(from), layerOf(to)];
      if (here === undefined) return [];
      if (there !== undefined) return allowed(here, there) ? [] : [`${from} -> ${to}: ${here} may not use ${there}`];
      return packageFault(here, to) === undefined ? [] : [`${from} -> ${to}: ${packageFault(here, to)}`];
    }),
  );
}

const isComponent = (layer: string): boolean => layer === "components" || layer === "infra";
const PROCESSES = ["execa", "node:child_process"];

/** Why a layer may not use a package; undefined when it may. */
function packageFault(layer: string, name: string): string | undefined {
  const pulumi = name.startsWith("@pulumi/") || name.startsWith("@muhlba91/");
  if (layer.startsWith("runtime") && pulumi) return "the runtime knows nothing of Pulumi";
  if (layer === "runtime/contracts" && !["zod", "yaml"].includes(name)) return "contracts are zod alone";
  if (layer === "runtime/core" && name.startsWith("node:")) return "the core does no I/O";
  if (isComponent(layer) && PROCESSES.includes(name)) return "a constructor runs at every preview and starts nothing";
  return undefined;
}

/** Groups of files that import each other in a ring at run time. */
function rings(sources: readonly Source[]): string[] {
  const paths = new Set(sources.map((source) => source.path));
  const next = new Map(
    sources.map(({ path, arrows }) => [path, arrows.filter((a) => !a.typeOnly && paths.has(a.to)).map((a) => a.to)]),
  );
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, way: string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) {
      found.push([...way.slice(start), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    for (const to of next.get(path) ?? []) walk(to, [...way, path]);
    done.add(path);
  };
  for (const path of paths) walk(path, []);
  return found;
}

const tree = FOLDERS.flatMap(filesUnder).map((path) => read(path));

test("every arrow between layers points the way of the design", () => {
  expect(tree.length).toBeGreaterThan(50);
  expect(wrongArrows(tree)).toEqual([]);
});

test("no files import each other in a ring", () => {
  expect(rings(tree)).toEqual([]);
});

test("no component and no stack looks at the environment", () => {
  const layers = ["components", "infra", "stacks", "runtime/contracts", "runtime/core"];
  const readers = tree.filter((source) => layers.includes(layerOf(source.path) ?? "") && source.readsEnvironment);
  expect(readers.map((source) => source.path)).toEqual([]);
});

test("every import of ours names a file that is there", () => {
  const paths = new Set([...tree.map((source) => source.path), "package.json"]);
  const lost = tree.flatMap(({ arrows }) =>
    arrows.filter(
      ({ to }) =>
        layerOf(to) !== undefined &&
        !paths.has(to) &&
        !to.startsWith("test/fixtures/") &&
        !(to.endsWith(".json") && existsSync(join(ROOT, to))),
    ),
  );
  expect(lost.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
});

test.each([
  ["components/models/x.ts", `import { HostPool } from "../../infra/index.ts";`, /components may not use infra/],
  ["components/x.ts", `export * from "../runtime/core/plan.ts";`, /components may not use runtime\/core/],
  ["infra/k3s/x.ts", `import { Model } from "../../components/index.ts";`, /infra may not use components/],
  ["infra/k3s/x.ts", `import type { Lab } from "../lab/lab.ts";`, /infra may not use infra\/lab/],
  ["infra/ssh/x.ts", `const { execa } = await import("execa");`, /starts nothing/],
  ["runtime/engine/x.ts", `import * as pulumi from "@pulumi/pulumi";`, /knows nothing of Pulumi/],
  [
    "runtime/engine/x.ts",
    `import { ask } from "../orchestrator/chat.ts";`,
    /runtime\/engine may not use runtime\/orchestrator/,
  ],
  ["runtime/core/x.ts", `import { readFile } from "node:fs/promises";`, /does no I\/O/],
  ["runtime/contracts/x.ts", `import { Hono } from "hono";`, /zod alone/],
  ["stacks/x.ts", `type Lab = import("../infra/lab/lab.ts").Lab;`, /stacks may not use infra\/lab/],
])("this test sees a wrong arrow of %s", (path, text, message) => {
  expect(wrongArrows([read(path, text)]).join()).toMatch(message);
});

test("this test sees a ring, and not one of types alone", () => {
  const a = read("components/a.ts", `import { b } from "./b.ts";`);
  expect(rings([a, read("components/b.ts", `export { a } from "./a.ts";`)])).toEqual([
    "components/a.ts -> components/b.ts -> components/a.ts",
  ]);
  expect(rings([a, read("components/b.ts", `import type { A } from "./a.ts";`)])).toEqual([]);
});

test("this test sees a look at the environment", () => {
  expect(read("components/x.ts", `const home = process.env["HOME"];`).readsEnvironment).toBe(true);
  expect(read("components/x.ts", `import { env } from "node:process";`).readsEnvironment).toBe(true);
  expect(read("components/x.ts", `const env = [{ name: "HOME" }]; pod.env = env;`).readsEnvironment).toBe(false);
});
