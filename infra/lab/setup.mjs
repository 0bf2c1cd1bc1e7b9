// The first thing that `npm run …` starts, with whatever Node is there: installs the packages when the lock file
// has changed since they were last installed, then goes on with the Node that the project pins.
// Usage: node infra/lab/setup.mjs ENTRY.ts [arguments…]
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const OLDEST_NODE_MAJOR = 20;
const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const stampFile = join(root, "node_modules", ".gorkheavy-lock");
const pinnedNode = join(root, "node_modules", "node", "bin", "node");

if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE_MAJOR) {
  fail(
    `Node ${process.versions.node} is too old: this project needs Node ${OLDEST_NODE_MAJOR} or newer. Install it and run the command again.`,
  );
}
installPackages();
run();

function installPackages() {
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const have = existsSync(stampFile) ? readFileSync(stampFile, "utf8") : "";
  if (have === wanted && existsSync(pinnedNode)) return;
  const started = Date.now();
  process.stderr.write("packages: installing from the npm registry (npm ci) …\n");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    // The Pulumi SDKs' install scripts look for provider plugins on GitHub; the lab brings its own.
    // llama.cpp comes prebuilt with its package: its script would fetch and compile it where it finds none.
    env: { ...process.env, PULUMI_SKIP_PLUGIN_INSTALL: "true", NODE_LLAMA_CPP_SKIP_DOWNLOAD: "true" },
  });
  if (npm.error)
    fail(`packages: npm could not be started (${npm.error.message}). Install npm and run the command again.`);
  if (npm.status !== 0) {
    fail(
      `packages: npm ci failed with exit code ${npm.status}. Its last words:\n${`${npm.stdout}${npm.stderr}`.trim().split("\n").slice(-15).join("\n")}`,
    );
  }
  if (!existsSync(pinnedNode))
    fail("packages: the npm package `node` brought no binary for this platform. Linux on x64 or arm64 is supported.");
  writeFileSync(stampFile, wanted);
  process.stderr.write(`packages: installed in ${((Date.now() - started) / 1000).toFixed(0)} s\n`);
}

function run() {
  const [entry, ...args] = process.argv.slice(2);
  if (!entry) fail("setup: name the program to start, e.g. infra/lab/main.ts");
  const bin = join(root, "node_modules", ".bin");
  const child = spawn(pinnedNode, ["--disable-warning=ExperimentalWarning", join(root, entry), ...args], {
    stdio: "inherit",
    env: { ...process.env, PATH: `${bin}:${process.env.PATH ?? ""}` },
  });
  // A terminal's Ctrl-C reaches the child by itself; a signal sent to this process alone has to be passed on.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => (signal === "SIGINT" && process.stdin.isTTY) || child.kill(signal));
  child.on("error", (error) => fail(`setup: ${entry} could not be started: ${error.message}`));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
