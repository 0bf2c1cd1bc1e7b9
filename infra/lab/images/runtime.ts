import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { bundle } from "../../../runtime/bundle.mjs";
import { bundleLlamaWorker, llamaFiles } from "../../../runtime/bundle-llama.mjs";
import { repositoryRoot } from "../tools/paths.ts";
import { packImages } from "./archive.ts";

const NODE_BINARY = join(repositoryRoot, "node_modules/node/bin/node");
const REPOSITORY = "ghcr.io/gorkheavy/runtime";
/** Raise when the image's layout changes without its content changing. */
const LAYOUT = 2;

/**
 * Full name of the runtime image that a checkout makes. Its tag names all that goes into it, so that a change rolls the pods, and nothing has to be
 * bundled to find out.
 */
export async function runtimeImageName(root: string = repositoryRoot): Promise<string> {
  const hash = createHash("sha256").update(`${process.version} ${process.arch} ${LAYOUT}`);
  const sources = await readdir(join(root, "runtime"), { recursive: true, withFileTypes: true });
  const paths = sources.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  // What is installed is what the lock file says: `npm ci` sees to that.
  for (const path of [...paths.sort(), join(root, "package-lock.json")]) {
    const bytes = await readFile(path);
    hash.update(`\0${relative(root, path)}\0${bytes.length}\0`).update(bytes);
  }
  const { version } = z
    .looseObject({ version: z.string() })
    .parse(JSON.parse(await readFile(join(root, "package.json"), "utf8")));
  return `${REPOSITORY}:${version}-${hash.digest("hex").slice(0, 12)}`;
}

/**
 * Bundles the runtime and builds its image into `dir/runtime.tar`: Node, the libraries that it links, the service, the process of a model, and
 * llama.cpp; nothing else, no shell.
 * @param name its full name: {@link runtimeImageName}
 */
export async function buildRuntimeImage(name: string, dir: string): Promise<void> {
  const rootDir = join(dir, "root");
  const place = async (from: string, to: string) => {
    await mkdir(join(rootDir, dirname(to)), { recursive: true });
    await copyFile(from, join(rootDir, to));
    await chmod(join(rootDir, to), 0o755);
  };
  await place(NODE_BINARY, "usr/local/bin/node");
  for (const library of await linkedLibraries(NODE_BINARY)) await place(library, library.slice(1));
  await mkdir(join(rootDir, "tmp"), { recursive: true });
  await chmod(join(rootDir, "tmp"), 0o1777);
  const app = join(rootDir, "app");
  await mkdir(app, { recursive: true });
  await Promise.all([bundle(join(app, "gorkheavy.mjs")), bundleLlamaWorker(join(app, "llama-worker.mjs"))]);
  for (const [file, from] of await llamaFiles(`${process.platform}-${process.arch}`)) {
    await mkdir(join(app, dirname(file)), { recursive: true });
    await copyFile(from, join(app, file));
  }
  await packImages(
    [
      {
        rootDir,
        config: {
          tags: [name],
          entrypoint: ["/usr/local/bin/node", "/app/gorkheavy.mjs"],
          user: "1000:1000",
          workingDirectory: "/app",
          // A user without an entry in /etc/passwd has no home, and node-llama-cpp asks for one as it starts.
          environment: ["PATH=/usr/local/bin", "NODE_ENV=production", "HOME=/tmp"],
        },
      },
    ],
    join(dir, "runtime.tar"),
  );
  await rm(rootDir, { recursive: true });
}

/** Absolute paths of the shared libraries that a program loads, its loader included. */
async function linkedLibraries(program: string): Promise<string[]> {
  const { stdout } = await execa("ldd", [program]);
  return stdout.split("\n").flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}
