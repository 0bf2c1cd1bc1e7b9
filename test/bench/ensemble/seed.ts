import { join } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { venvPython } from "../../../infra/lab/tools/venv.ts";

/** The seed's own client library; a wheel of 3.9.1, which it names, exists up to Python 3.12. */
const AIOHTTP = "aiohttp==3.9.1";

/** One contestant: takes a question, says what it took. */
export interface Contestant {
  name: string;
  /** @returns ms from the question to the whole reply, to the first word that a user sees of any answer, and to the judge's scores where they come later */
  ask(question: string): Promise<{ ms: number; firstMs: number; wholeMs?: number }>;
  close(): Promise<void>;
}

/** Starts the seed's script in a Python environment of its own, which is made once. @param core CPU core that it is pinned to */
export async function startSeed(addresses: Record<string, string>, core: number): Promise<Contestant> {
  const python = await venvPython("bench-seed", [AIOHTTP], (line) => void process.stderr.write(`${line}\n`));
  const endpoints = Object.fromEntries(
    Object.entries(addresses).map(([name, url]) => [name.replace("-", "_"), `${url}/api/generate`]),
  );
  const script = join(import.meta.dirname, "seed/final_script.py");
  const child = execa("taskset", ["-c", `${core}`, python, "-u", script], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    buffer: false,
    reject: false,
    env: { API_ENDPOINTS: JSON.stringify(endpoints) },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    name: "seed's script (Python, aiohttp)",
    ask: async (question) => {
      const began = performance.now();
      child.stdin.write(`${question}\n`);
      for (;;) {
        const line = await lines.next();
        if (line.done === true) throw new Error("the seed's script ended; its own words are above");
        if (line.value !== "END") continue;
        // It prints a reply only when all of it is there.
        const ms = performance.now() - began;
        return { ms, firstMs: ms };
      }
    },
    close: async () => {
      child.stdin.end("exit\n");
      child.kill();
      await child;
    },
  };
}
