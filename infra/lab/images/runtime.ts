import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { bundle } from "../../../runtime/bundle.mjs";
import { repositoryRoot } from "../tools/paths.ts";
import { packImages } from "./archive.ts";

const NODE_BINARY = join(repositoryRoot, "node_modules/node/bin/node");
const REPOSITORY = "ghcr.io/gorkheavy/runtime";
/** Raise when the image's layout changes without its content changing. */
const LAYOUT = 1;

/** The runtime image that the checkout's code makes: its tag names its content, so that a change rolls the pods. */
export interface RuntimeImage {
  /** Full name with tag. */
  reference: string;
  /** The bundled service, one file of JavaScript. */
  code: Buffer;
}

/** Bundles the runtime's code and names the image after it. */
export async function planRuntimeImage(): Promise<RuntimeImage> {
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-bundle-"));
  try {
    const file = join(work, "gorkheavy.mjs");
    await bundle(file);
    const code = await readFile(file);
    const digest = createHash("sha256").update(code).update(`${process.version} ${LAYOUT}`).digest("hex").slice(0, 12);
    const { version } = z
      .looseObject({ version: z.string() })
      .parse(JSON.parse(await readFile(join(repositoryRoot, "package.json"), "utf8")));
    return { reference: `${REPOSITORY}:${version}-${digest}`, code };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Builds the image into `dir/runtime.tar`: Node, the libraries that it links, and the bundle; nothing else, no shell. */
export async function buildRuntimeImage(image: RuntimeImage, dir: string): Promise<void> {
  const rootDir = join(dir, "root");
  const place = async (from: string, to: string) => {
    await mkdir(join(rootDir, dirname(to)), { recursive: true });
    await copyFile(from, join(rootDir, to));
    await chmod(join(rootDir, to), 0o755);
  };
  await place(NODE_BINARY, "usr/local/bin/node");
  for (const library of await linkedLibraries(NODE_BINARY)) await place(library, library.slice(1));
  await mkdir(join(rootDir, "app"), { recursive: true });
  await mkdir(join(rootDir, "tmp"), { recursive: true });
  await chmod(join(rootDir, "tmp"), 0o1777);
  await writeFile(join(rootDir, "app/gorkheavy.mjs"), image.code);
  await packImages(
    [
      {
        rootDir,
        config: {
          tags: [image.reference],
          entrypoint: ["/usr/local/bin/node", "/app/gorkheavy.mjs"],
          user: "1000:1000",
          workingDirectory: "/app",
          environment: ["PATH=/usr/local/bin", "NODE_ENV=production"],
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
