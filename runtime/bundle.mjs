import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/**
 * Bundles the runtime into one file that Node 24 runs without node_modules.
 * @param {string} outfile where it goes, such as `dist/gorkheavy.mjs`
 * @returns {Promise<void>}
 */
export async function bundle(outfile) {
  await build({
    entryPoints: [fileURLToPath(new URL("main.ts", import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    minify: false,
    legalComments: "none",
    logLevel: "warning",
    // Files that are read at run time elsewhere.
    define: { GORKHEAVY_MIGRATIONS: JSON.stringify(await migrations()) },
    // CommonJS dependencies call require for Node's own modules; an ES module has none.
    banner: {
      js: 'import { createRequire as gorkheavyRequire } from "node:module"; const require = gorkheavyRequire(import.meta.url);',
    },
  });
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
