import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { routingCommand } from "../../../../../runtime/orchestrator/routing/command.ts";
import { verdict } from "../../core/routing/records.ts";

let folder = "";
let file = "";
let printed = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gorkheavy-replay-"));
  file = join(folder, "verdicts.jsonl");
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await rm(folder, { recursive: true, force: true });
});

const replay = (...argv: string[]) =>
  routingCommand()
    .exitOverride()
    .parseAsync(["replay", "--verdicts", file, ...argv], { from: "user" });
const routing = {
  profile: verdict(1, "llama").profile,
  threshold: 1,
  asked: ["llama", "qwen", "small"],
  heldBack: [],
  reason: "off",
  why: "the threshold is 1, so the whole panel is always asked",
} as const;
const line = (seq: number): string => {
  const record = verdict(seq, "llama", {}, { routing: { ...routing, asked: [...routing.asked], heldBack: [] } });
  return `${JSON.stringify({ ...record, settings: { ...record.settings, awarenessThreshold: 1 } })}\n`;
};

describe("gorkheavy routing replay", () => {
  test("tells that each route came out the same, and what thresholds would have saved", async () => {
    await writeFile(`${file}.1`, Array.from({ length: 10 }, (_, at) => line(at + 1)).join(""));
    await writeFile(file, Array.from({ length: 10 }, (_, at) => line(at + 11)).join(""));
    await replay("--threshold", "0.7", "0.9");
    expect(printed).toContain("20 verdicts; 20 routes came out the same, 0 otherwise, 0 could not be checked\n");
    expect(printed).toContain("| 0.7 | 20 | 13 | 0 | 0 | 52 of 100 | 19.5 of 38.0 | 7.8 of 20.0 |");
    expect(printed).toContain("| 0.9 | 20 | 0 |");
    expect(process.exitCode).toBeUndefined();
  });

  test("gives it all as JSON, and exits with 1 where a route came out otherwise", async () => {
    await writeFile(file, line(1) + line(2).replace('"off"', '"unsure"'));
    await replay("--json");
    expect(JSON.parse(printed)).toMatchObject({ verdicts: 2, recreated: { same: 1, different: [{ seq: 2 }] } });
    expect(process.exitCode).toBe(1);
  });

  test.each([
    ["2", /--threshold: got 2, want a number from 0 to 1/],
    ["much", /--threshold: got much, want a number from 0 to 1/],
  ])("refuses the threshold %s", async (threshold, message) => {
    await writeFile(file, line(1));
    vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const command = routingCommand();
    for (const one of [command, ...command.commands]) one.exitOverride();
    await expect(
      command.parseAsync(["replay", "--verdicts", file, "--threshold", threshold], { from: "user" }),
    ).rejects.toThrow(message);
  });

  test("names file, line and field of what is no verdict, and the file that is not there", async () => {
    await writeFile(file, `${line(1)}${line(2).replace('"seq":2', '"seq":"two"')}{\n`);
    await expect(replay()).rejects.toThrow(/verdicts\.jsonl, line 2: seq: .*\n.*line 3: no JSON/);
    file = join(folder, "missing.jsonl");
    await expect(replay()).rejects.toThrow(/missing\.jsonl: cannot be read \(ENOENT\)/);
  });
});
