import { createHash } from "node:crypto";
import { join } from "node:path";
import { execa } from "execa";
import { cached, type Report } from "./cache.ts";

/**
 * A Python environment with these requirements, kept in the project's cache. Needs python3 with its venv module (Debian: python3-venv).
 * @param name its folder in the cache
 * @param requirements exact versions, such as `schemathesis==4.32.5`
 * @returns its python; run programs with `-m`, as their scripts name the folder in which they were made
 * @throws Error with what python or pip said
 */
export async function venvPython(name: string, requirements: readonly string[], report?: Report): Promise<string> {
  const { stdout: python } = await execa("python3", ["--version"]);
  const version = createHash("sha256")
    .update([python, ...requirements].join("\n"))
    .digest("hex")
    .slice(0, 16);
  const { dir } = await cached(
    name,
    version,
    async (into, say) => {
      say(`installing ${requirements.join(", ")} with pip`);
      await execa("python3", ["-m", "venv", into]);
      const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"];
      await execa(join(into, "bin/python"), [...pip, ...requirements]);
    },
    report === undefined ? {} : { report },
  );
  return join(dir, "bin/python");
}
