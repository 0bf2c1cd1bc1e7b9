import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { z } from "zod";
import { cached, type Report } from "../../../infra/lab/tools/cache.ts";
import { go, goVersion } from "../../../infra/lab/tools/go.ts";
import { ensurePrograms } from "../../../infra/lab/tools/packages.ts";
import { cacheRoot } from "../../../infra/lab/tools/paths.ts";
import { freePort } from "./gateway.ts";

/** Newest release that the Go module proxy had when this was written; 0.17.1 closed CVE-2026-7482. */
export const OLLAMA_VERSION = "v0.17.4";
const MODULE = "github.com/ollama/ollama";
/** Digest of the module's files. Source: sum.golang.org. */
const MODULE_SUM = "h1:X3KNm9x4BlHqk/AXMGtC7pBAFd46nmJmy8yDaBZLo9s=";
const CACHE_NAME = "bench-ollama";

/** Headers that Ollama's source keeps in a folder named `vendor`, which no Go module may contain. The same ones come with llama.cpp. */
const VENDORED = ["nlohmann", "stb", "miniaudio"];

/** Ollama's program, when an earlier run has built it. */
export function ollamaInCache(): string | undefined {
  const program = join(cacheRoot(), CACHE_NAME, OLLAMA_VERSION, "bin", "ollama");
  return existsSync(program) ? program : undefined;
}

/**
 * Ollama's program, built from its Go module the first time as its own documents say: the program by Go, and the CPU's own kernels by CMake, all
 * of them, as a release has them; without the latter it would compute with SSE3 alone. Ten minutes on two idle cores.
 * @throws Error that says what is missing
 */
export async function ollamaProgram(report: Report): Promise<string> {
  const { dir } = await cached(CACHE_NAME, OLLAMA_VERSION, build, { report });
  return join(dir, "bin", "ollama");
}

async function build(dir: string, report: Report, scratch: string): Promise<void> {
  await goVersion();
  const why = "Ollama, the peer of the engine's benchmarks";
  const programs = ["g++", "cmake", "make"].map((program) => ({ program, package: program, for: why }));
  await ensurePrograms({ programs, install: process.getuid?.() === 0, report });
  const source = join(scratch, "source");
  if (!existsSync(source)) await fetchSource(source, scratch, report);
  report("compiling Ollama, once; ten minutes on two idle cores");
  const program = join(dir, "bin", "ollama");
  await go(["build", "-mod=readonly", "-trimpath", "-v", "-o", program, "."], source, report, { CGO_ENABLED: "1" });
  const built = join(scratch, "build");
  const cmake = (args: string[]): Promise<unknown> => execa("cmake", args, { cwd: source });
  await cmake(["-S", ".", "-B", built, "--preset", "CPU"]);
  report("compiling the kernels of each kind of CPU");
  await cmake(["--build", built, "--target", "ggml-cpu", "--parallel", "2"]);
  // The program looks for them beside its own folder.
  await mkdir(join(dir, "lib"), { recursive: true });
  await cp(join(built, "lib", "ollama"), join(dir, "lib", "ollama"), { recursive: true, verbatimSymlinks: true });
  await rm(scratch, { recursive: true, force: true });
}

const Downloaded = z.object({ Dir: z.string(), Sum: z.string() });

async function fetchSource(source: string, scratch: string, report: Report): Promise<void> {
  report(`fetching ${MODULE} ${OLLAMA_VERSION}`);
  const { stdout } = await execa("go", ["mod", "download", "-json", `${MODULE}@${OLLAMA_VERSION}`], { cwd: scratch });
  const { Dir, Sum } = Downloaded.parse(JSON.parse(stdout));
  if (Sum !== MODULE_SUM)
    throw new Error(`${MODULE} ${OLLAMA_VERSION}: got files with digest ${Sum}, want ${MODULE_SUM}`);
  const partial = `${source}.partial`;
  await rm(partial, { recursive: true, force: true });
  await cp(Dir, partial, { recursive: true });
  // The module cache is read-only, and so is a copy of it.
  await execa("chmod", ["-R", "u+w", partial]);
  await addVendored(join(partial, "llama", "llama.cpp"), scratch);
  await rename(partial, source);
}

/** Puts the headers where Ollama's build looks for them, from the source of llama.cpp that node-llama-cpp carries as a bundle of Git. */
async function addVendored(into: string, scratch: string): Promise<void> {
  // Its entry is in `dist`.
  const root = dirname(dirname(fileURLToPath(import.meta.resolve("node-llama-cpp"))));
  const clone = join(scratch, "llama.cpp.git");
  await rm(clone, { recursive: true, force: true });
  await execa("git", ["clone", "-q", "--bare", join(root, "llama", "gitRelease.bundle"), clone]);
  const archive = join(scratch, "vendor.tar");
  const folders = VENDORED.map((name) => `vendor/${name}`);
  await execa("git", ["-C", clone, "archive", "-o", archive, "HEAD", ...folders]);
  await execa("tar", ["-xf", archive, "-C", into]);
}

/** A running Ollama. */
export interface RunningOllama {
  url: string;
  /** Its first process; one for each loaded model is a child of it. */
  pid: number;
  /** From the start of its process to its first answer, ms. */
  readyMs: number;
  /** Last characters of its log. */
  words(): string;
  /** Makes a model of a GGUF file that is on this machine. @throws Error in Ollama's words */
  create(name: string, file: string): Promise<void>;
  stop(): Promise<void>;
}

const START_WITHIN_MS = 120_000;
const WORDS = 4_000;

/**
 * Starts `ollama serve` on a free port with a folder of its own for models.
 * @param prefix words before its command, such as `taskset -c 0`. @param env further settings of its own
 */
export async function startOllama(
  program: string,
  options: { prefix?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
): Promise<RunningOllama> {
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-ollama-"));
  const port = await freePort();
  const began = performance.now();
  const [command = program, ...args] = [...(options.prefix ?? []), program, "serve"];
  const child = execa(command, args, {
    reject: false,
    buffer: false,
    stdin: "ignore",
    all: true,
    forceKillAfterDelay: 5_000,
    env: {
      HOME: work,
      OLLAMA_HOST: `127.0.0.1:${port}`,
      OLLAMA_MODELS: join(work, "models"),
      // Nothing of it may go out of this machine.
      OLLAMA_NOHISTORY: "1",
      ...options.env,
    },
  });
  let words = "";
  child.all.on("data", (part: Buffer) => (words = `${words}${part.toString()}`.slice(-WORDS)));
  const ended = { yes: false };
  const end = child.then(() => (ended.yes = true));
  const stop = async (): Promise<void> => {
    child.kill();
    await end;
    await rm(work, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  while (!(await answers(url))) {
    if (ended.yes || performance.now() - began > START_WITHIN_MS) {
      await stop();
      throw new Error(`Ollama did not answer; its last words:\n${words}`);
    }
    await delay(20);
  }
  return {
    url,
    pid: child.pid ?? 0,
    readyMs: performance.now() - began,
    words: () => words,
    create: async (name, file) => {
      const modelfile = join(work, "Modelfile");
      await writeFile(modelfile, `FROM ${file}\n`);
      const env = { HOME: work, OLLAMA_HOST: url };
      await execa(program, ["create", name, "-f", modelfile], { env });
    },
    stop,
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/api/version`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}
