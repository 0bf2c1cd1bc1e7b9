import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
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

/** The runtime image that the checkout's code makes: its tag names its content, so that a change rolls the pods. */
export interface RuntimeImage {
  /** Full name with tag. */
  reference: string;
  /** Files below `/app`, by their place there: the bundled service, the bundled process of a model, and llama.cpp. */
  files: ReadonlyMap<string, Buffer>;
}

/** Bundles the runtime's code and names the image after it and all that goes with it. */
export async function planRuntimeImage(): Promise<RuntimeImage> {
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-bundle-"));
  try {
    await Promise.all([bundle(join(work, "gorkheavy.mjs")), bundleLlamaWorker(join(work, "llama-worker.mjs"))]);
    const places = new Map([
      ...["gorkheavy.mjs", "llama-worker.mjs"].map((name) => [name, join(work, name)] as const),
      ...(await llamaFiles(`${process.platform}-${process.arch}`)),
    ]);
    const files = new Map<string, Buffer>();
    const hash = createHash("sha256").update(`${process.version} ${LAYOUT}`);
    for (const [place, from] of [...places].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const bytes = await readFile(from);
      files.set(place, bytes);
      hash.update(`\0${place}\0${bytes.length}\0`).update(bytes);
    }
    const { version } = z
      .looseObject({ version: z.string() })
      .parse(JSON.parse(await readFile(join(repositoryRoot, "package.json"), "utf8")));
    return { reference: `${REPOSITORY}:${version}-${hash.digest("hex").slice(0, 12)}`, files };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Builds the image into `dir/runtime.tar`: Node, the libraries that it links, the bundles and llama.cpp; nothing else, no shell. */
export async function buildRuntimeImage(image: RuntimeImage, dir: string): Promise<void> {
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
  for (const [place, bytes] of image.files) {
    const path = join(rootDir, "app", place);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }
  await packImages(
    [
      {
        rootDir,
        config: {
          tags: [image.reference],
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
