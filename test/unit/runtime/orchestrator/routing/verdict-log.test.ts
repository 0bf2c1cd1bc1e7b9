import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readVerdicts, VerdictLog } from "../../../../../runtime/orchestrator/routing/verdict-log.ts";
import { verdict } from "../../core/routing/records.ts";

let folder = "";
let file = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gorkheavy-verdicts-"));
  file = join(folder, "verdicts.jsonl");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const opened = (bytes = 1 << 20, window = 2_000, warned: object[] = []) =>
  VerdictLog.open({ file, bytes, window }, { warn: (fields: object) => void warned.push(fields) });
const seqs = async (path = file): Promise<number[]> => (await readVerdicts(path)).records.map(({ seq }) => seq);

describe("a verdicts file", () => {
  test("is made, appended to, and remembered", async () => {
    const log = await opened();
    expect(log.remembered).toEqual([]);
    for (let seq = 1; seq <= 50; seq++) log.append(verdict(seq, "llama"));
    await log.close();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const again = await opened();
    expect(again.remembered.map(({ seq }) => seq)).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
    expect(again.remembered[0]).toEqual(verdict(1, "llama"));
    again.append(verdict(51, "qwen"));
    await again.close();
    expect((await seqs()).at(-1)).toBe(51);
  });

  test("has a half line at its end taken off, wherever a crash cut it", async () => {
    const line = `${JSON.stringify(verdict(2, "llama"))}\n`;
    for (const cut of [1, 20, line.length - 1]) {
      await writeFile(file, `${JSON.stringify(verdict(1, "llama"))}\n${line.slice(0, cut)}`);
      const warned: object[] = [];
      const log = await opened(undefined, undefined, warned);
      expect(log.remembered.map(({ seq }) => seq)).toEqual([1]);
      expect(warned).toEqual([]);
      log.append(verdict(2, "qwen"));
      await log.close();
      expect(await seqs()).toEqual([1, 2]);
    }
  });

  test("is set aside at its size, once, and both parts are remembered", async () => {
    const log = await opened(65_536);
    for (let seq = 1; seq <= 200; seq++) {
      log.append(verdict(seq, "llama"));
      if (seq % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await log.close();
    const [older, newer] = [await seqs(`${file}.1`), await seqs()];
    expect([...older, ...newer]).toEqual(
      Array.from({ length: older.length + newer.length }, (_, at) => 201 - older.length - newer.length + at),
    );
    expect((await stat(`${file}.1`)).size).toBeLessThanOrEqual(65_536);
    expect((await stat(file)).size).toBeLessThanOrEqual(65_536);
    const again = await opened(65_536);
    expect(again.remembered.map(({ seq }) => seq)).toEqual([...older, ...newer]);
    await again.close();
  });

  test("is read no further back than what is learned from", async () => {
    const log = await opened();
    for (let seq = 1; seq <= 50; seq++) log.append(verdict(seq, "llama"));
    await log.close();
    const again = await opened(1 << 20, 5);
    expect(again.remembered.map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, at) => 31 + at));
    await again.close();
  });

  test.each<[string, string, RegExp]>([
    ["no JSON", "{not json}", /no JSON/],
    ["a share beyond 1", JSON.stringify({ ...verdict(2, "llama"), draw: 2 }), /^draw: /],
    ["a field that is not there", JSON.stringify({ ...verdict(2, "llama"), extra: 1 }), /extra/],
    ["no winner", JSON.stringify({ ...verdict(2, "llama"), decision: { by: "judge" } }), /^decision\.winner: /],
  ])("with a line that is none (%s) goes on without it, and names the line and the field", async (_what, line, message) => {
    await writeFile(file, `${JSON.stringify(verdict(1, "llama"))}\n${line}\n${JSON.stringify(verdict(3, "qwen"))}\n`);
    const read = await readVerdicts(file);
    expect(read.bad).toEqual([{ file, line: 2, message: expect.stringMatching(message) as string }]);
    const warned: object[] = [];
    const log = await opened(undefined, undefined, warned);
    expect(log.remembered.map(({ seq }) => seq)).toEqual([1, 3]);
    expect(warned).toEqual([{ file, line: 2 }]);
    await log.close();
  });

  test("that cannot be one is refused at the start, by the setting's name", async () => {
    await mkdir(file);
    await expect(opened()).rejects.toThrow(/routing\.verdictsFile: .* cannot be written \(EISDIR\)/);
    file = join(folder, "missing", "verdicts.jsonl");
    await expect(opened()).rejects.toThrow(/routing\.verdictsFile: .* cannot be written \(ENOENT\)/);
  });

  test("that cannot be written any more loses verdicts, counts them and says so once", async () => {
    const warned: object[] = [];
    const log = await opened(65_536, 2_000, warned);
    await appendFile(file, "");
    // The folder is gone, so the file cannot be set aside at its size.
    await rm(folder, { recursive: true });
    for (let round = 0; round < 40; round++) {
      for (let seq = 1; seq <= 10; seq++) log.append(verdict(seq, "llama"));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await log.close();
    expect(log.lost).toBeGreaterThan(0);
    expect(warned).toHaveLength(1);
  });

  test("holds only whole lines after each write", async () => {
    const log = await opened();
    for (let seq = 1; seq <= 20; seq++) {
      log.append(verdict(seq, "llama"));
      await new Promise((resolve) => setImmediate(resolve));
      const text = await readFile(file, "utf8");
      expect(text === "" || text.endsWith("}\n")).toBe(true);
    }
    await log.close();
  });
});
