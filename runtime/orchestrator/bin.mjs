#!/usr/bin/env node
// Node 24 runs the TypeScript sources as they are; an older one goes on with the Node that the package brings.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const entry = fileURLToPath(new URL("../main.ts", import.meta.url));

if (Number(process.versions.node.split(".")[0]) >= 24) {
  await import(entry);
} else {
  let node;
  try {
    node = createRequire(import.meta.url).resolve("node/bin/node");
  } catch {
    console.error(
      `gorkheavy: got Node ${process.versions.node}, want 24 or newer; install it, or the npm package "node" beside this one`,
    );
    process.exit(1);
  }
  const { status, signal } = spawnSync(node, [entry, ...process.argv.slice(2)], { stdio: "inherit" });
  process.exit(signal === null ? (status ?? 1) : 1);
}
