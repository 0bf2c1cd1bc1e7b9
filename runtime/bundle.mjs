import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { FOR_NODE } from "./bundle-options.mjs";

/**
 * Takes Node's own modules from the process instead of importing them: an import makes every property of a module once, and those of
 * `node:http` load the whole of `fetch` (a sixth of the time to the first answer).
 * @type {import("esbuild").Plugin}
 */
const ownModules = {
  name: "node's own modules",
  setup({ onResolve, onLoad }) {
    const own = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
    onResolve({ filter: /^[a-z]/ }, ({ path, kind }) =>
      own.has(path) && kind === "import-statement" ? { path, namespace: "own" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "own" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

/**
 * Leaves out the parts of two libraries that nothing here calls: zod's messages in fifty languages, and of undici all but its connections.
 * An import of what is left out fails the build.
 * @type {import("esbuild").Plugin}
 */
const smallParts = {
  name: "small parts of large libraries",
  setup({ onResolve }) {
    const part = (file) => ({ path: fileURLToPath(new URL(`bundle/${file}`, import.meta.url)) });
    onResolve({ filter: /^undici$/ }, () => part("undici.mjs"));
    onResolve({ filter: /^\.\.\/locales\/index\.js$/ }, ({ importer }) =>
      importer.includes("/zod/") ? part("zod-locales.mjs") : undefined,
    );
  },
};

/**
 * Bundles the runtime into one file that Node 24 runs without node_modules.
 * @param {string} outfile where it goes, such as `dist/gorkheavy.mjs`
 * @returns {Promise<{ packagesAtStart: Record<string, string[]> }>}
 */
export async function bundle(outfile) {
  const { metafile, outputFiles } = await build({
    metafile: true,
    write: false,
    entryPoints: [fileURLToPath(new URL("main.ts", import.meta.url))],
    outfile,
    ...FOR_NODE,
    // Files that are read at run time elsewhere.
    define: { GORKHEAVY_MIGRATIONS: JSON.stringify(await migrations()) },
    plugins: [ownModules, smallParts],
  });
  await mkdir(dirname(outfile), { recursive: true });
  for (const { text } of outputFiles) await writeFile(outfile, inAscii(text));
  const commands = Object.keys(metafile.inputs).filter((file) => /(^|\/)runtime\/[a-z]+\/command\.ts$/.test(file));
  return {
    packagesAtStart: Object.fromEntries(
      commands.map((file) => [file.replace(/^.*runtime\//, ""), packagesFrom(file, metafile.inputs)]),
    ),
  };
}

/**
 * The same code in ASCII, since V8 keeps two bytes for each character of a text that is not. esbuild escapes what is in strings but not what is
 * in patterns, where the escape means the same.
 */
function inAscii(code) {
  return code.replaceAll(/[^\0-\x7f]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The packages that are evaluated with a file: those that it reaches without a dynamic import. */
function packagesFrom(file, inputs) {
  const files = new Set([file]);
  for (const one of files)
    for (const { path, kind, external } of inputs[one]?.imports ?? [])
      if (kind !== "dynamic-import" && !external) files.add(path);
  const names = [...files].flatMap((one) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(one)?.[1] ?? []);
  return [...new Set(names)].sort();
}

/** The conversation store's migrations, as runtime/memory/migrations.ts takes them. */
async function migrations() {
  const folder = new URL("memory/migrations/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql"));
  return Promise.all(names.map(async (name) => ({ name, text: await readFile(new URL(name, folder), "utf8") })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle(process.argv[2] ?? "dist/gorkheavy.mjs");
}
