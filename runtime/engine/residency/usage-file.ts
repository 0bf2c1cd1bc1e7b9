import { randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { z } from "zod";
import { codeOf } from "../../support/error-code.ts";
import { jsonOf } from "../../support/json.ts";
import type { Logger } from "../../support/log.ts";
import { UsagePatterns } from "./patterns.ts";

const Day = z.int().min(0);
/** What the file holds, by model: the first day on which it was asked, and its 24 hours. Days since 1970. */
const UsageSchema = z.record(
  z.string(),
  z.strictObject({
    firstDay: Day,
    hours: z.array(z.strictObject({ weight: z.number().min(0), day: Day })).length(24),
  }),
);

/**
 * At which hours models are asked, kept in a file, so that a restart forgets nothing. Two engines of one store share it: the later one wins.
 * A file that cannot be read or written costs the memory of it and nothing else; that is logged once.
 */
export class UsageFile {
  readonly patterns: UsagePatterns;
  readonly #path: string;
  readonly #log: Logger;
  #saved: string;
  #refused = false;

  private constructor(path: string, patterns: UsagePatterns, log: Logger) {
    this.#path = path;
    this.patterns = patterns;
    this.#log = log;
    this.#saved = JSON.stringify(patterns.models());
  }

  /** @param path where it is, or will be once something is known */
  static async open(path: string, log: Logger): Promise<UsageFile> {
    const text = await readFile(path, "utf8").catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") log.warn({ path, err: error }, "what was known of the models' hours is not read");
      return undefined;
    });
    const known = UsageSchema.safeParse(jsonOf(text ?? "{}"));
    if (!known.success) log.warn({ path }, "what was known of the models' hours is not readable; it begins anew");
    return new UsageFile(path, new UsagePatterns(known.data), log);
  }

  /** Writes down what has changed since the last time. */
  async save(): Promise<void> {
    const text = JSON.stringify(this.patterns.models());
    if (text === this.#saved) return;
    const beside = `${this.#path}.${randomBytes(6).toString("hex")}.tmp`;
    try {
      await writeFile(beside, text, { flag: "wx", mode: 0o644 });
      await rename(beside, this.#path);
      this.#saved = text;
      this.#refused = false;
    } catch (error) {
      await rm(beside, { force: true }).catch(() => undefined);
      if (!this.#refused) this.#log.warn({ path: this.#path, err: error }, "the models' hours cannot be written down");
      this.#refused = true;
    }
  }
}
