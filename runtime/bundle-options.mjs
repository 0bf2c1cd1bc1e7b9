/**
 * What both bundles are made for: Node 24, one file.
 * @type {import("esbuild").BuildOptions}
 */
export const FOR_NODE = {
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  // Half the text to read at every start; names stay, for stack traces and profiles.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: "none",
  logLevel: "warning",
  // CommonJS dependencies call require for Node's own modules; an ES module has none.
  banner: {
    js: 'import { createRequire as gorkheavyRequire } from "node:module"; const require = gorkheavyRequire(import.meta.url);',
  },
};
