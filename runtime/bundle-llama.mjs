import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { FOR_NODE } from "./bundle-options.mjs";

/** Folder of node-llama-cpp where it is installed. */
const PACKAGE = fileURLToPath(new URL("..", import.meta.resolve("node-llama-cpp")));
/** Folder of its binary packages, one a platform. */
const BINARIES = join(PACKAGE, "../@node-llama-cpp");

/** Files of node-llama-cpp that it reads when it runs: its version, the llama.cpp release that its binaries are of, and the grammar of JSON. */
const READ_FILES = ["package.json", "LICENSE", "llama/binariesGithubRelease.json", "llama/grammars/json.gbnf"];

/** What only a build of llama.cpp from its source, or a download of models by node-llama-cpp, would call. */
const LEFT_OUT = { "simple-git": ["simpleGit"], ipull: ["downloadFile", "downloadSequence", "DownloadStatus"] };

/**
 * Makes one file of node-llama-cpp's many, a third of the time to its first call: each still finds what it reads where it would be below
 * node_modules beside the bundle.
 * @type {import("esbuild").Plugin}
 */
const llamaParts = {
  name: "node-llama-cpp in one file",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: new RegExp(`^(${Object.keys(LEFT_OUT).join("|")})$`) }, ({ path }) => ({
      path,
      namespace: "left-out",
    }));
    onLoad({ filter: /.*/, namespace: "left-out" }, ({ path }) => ({
      contents: LEFT_OUT[path].map((name) => `export const ${name} = undefined;`).join("\n"),
    }));
    // It would load the binary in a process of its own first, for a second: the worker is that process already.
    onLoad({ filter: /[\\/]testBindingBinary\.js$/ }, () => ({
      contents: "export async function testBindingBinary() { return true; }",
    }));
    onLoad({ filter: /[\\/]node-llama-cpp[\\/]dist[\\/].*\.js$/ }, async ({ path }) => {
      const place = relative(PACKAGE, path).split(sep).join("/");
      const own = `new URL(${JSON.stringify(`./node_modules/node-llama-cpp/${place}`)}, import.meta.url).href`;
      return { contents: (await readFile(path, "utf8")).replaceAll("import.meta.url", own) };
    });
  },
};

/**
 * Bundles the process that holds one model into one file that Node 24 runs with the files of {@link llamaFiles} beside it.
 * @param {string} outfile where it goes; the engine looks for `llama-worker.mjs` beside its own bundle
 * @returns {Promise<void>}
 */
export async function bundleLlamaWorker(outfile) {
  await build({
    entryPoints: [fileURLToPath(new URL("engine/llama/worker.ts", import.meta.url))],
    outfile,
    ...FOR_NODE,
    // llama.cpp itself, whichever is there.
    external: ["@node-llama-cpp/*", "electron"],
    plugins: [llamaParts],
  });
}

/**
 * What the bundled worker needs beside it: llama.cpp for one platform's CPUs, without graphics cards, and what node-llama-cpp reads.
 * @param {string} platform `linux-x64` or `linux-arm64`
 * @returns {Promise<Map<string, string>>} place below the bundle's folder to the file that belongs there
 * @throws Error when llama.cpp for the platform is not installed
 */
export async function llamaFiles(platform) {
  const files = new Map(READ_FILES.map((file) => [`node_modules/node-llama-cpp/${file}`, join(PACKAGE, file)]));
  const from = join(BINARIES, platform);
  const found = await readdir(from, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of found) {
    if (!entry.isFile() || entry.name === "README.md") continue;
    const path = join(entry.parentPath, entry.name);
    files.set(`node_modules/@node-llama-cpp/${platform}/${relative(from, path).split(sep).join("/")}`, path);
  }
  if (![...files.keys()].some((file) => file.endsWith(".node"))) {
    throw new Error(
      `llama.cpp for ${platform} is not in ${from}; run npm ci on such a machine, without --omit=optional`,
    );
  }
  return files;
}
