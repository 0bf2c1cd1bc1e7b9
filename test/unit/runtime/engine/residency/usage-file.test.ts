import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Preloader } from "../../../../../runtime/engine/residency/preloader.ts";
import { UsageFile } from "../../../../../runtime/engine/residency/usage-file.ts";
import { createLogger } from "../../../../../runtime/support/log.ts";
import { FakeClock } from "../../../../support/fake-clock.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MONDAY = Date.UTC(2026, 0, 5);
const SILENT = createLogger("test", "silent");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "usage-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** A preloader that keeps what it learns in that file, from a time on, and the models that it wanted. */
async function preloaderOf(
  path: string,
  fromMs: number,
): Promise<{ preloader: Preloader; wanted: string[]; clock: FakeClock }> {
  const [clock, wanted] = [new FakeClock(fromMs), [] as string[]];
  const preload = (name: string): boolean => wanted.push(name) > 0;
  return { preloader: new Preloader(clock, preload, await UsageFile.open(path, SILENT)), wanted, clock };
}

test("what one engine learns of a model's hours the next one knows", async () => {
  const path = join(folder, "usage.json");
  for (const day of [0, 1]) {
    const { preloader } = await preloaderOf(path, MONDAY + day * DAY + 9 * HOUR);
    preloader.turn(true);
    preloader.used("m", true);
    preloader.used("other", true);
    await preloader.close();
  }
  const { preloader, wanted, clock } = await preloaderOf(path, MONDAY + 2 * DAY + 8 * HOUR);
  preloader.turn(true);
  await clock.advance(0.9 * HOUR);
  expect(wanted).toEqual([]);
  await clock.advance(0.1 * HOUR);
  expect(new Set(wanted)).toEqual(new Set(["m", "other"]));
  preloader.turn(false);
  expect(await readdir(folder)).toEqual(["usage.json"]);
});

test("what is learned is written down while the engine runs, and not at all where it does not look ahead", async () => {
  const path = join(folder, "usage.json");
  const { preloader, clock } = await preloaderOf(path, MONDAY);
  preloader.used("m", true);
  await preloader.close();
  expect(await readdir(folder)).toEqual([]);
  preloader.turn(true);
  await vi.waitFor(async () => expect(await readFile(path, "utf8")).toContain('"m"'));
  preloader.used("later", true);
  await clock.advance(60_000);
  await vi.waitFor(async () => expect(await readFile(path, "utf8")).toContain('"later"'));
  preloader.turn(false);
});

test.each([
  ["cut short", '{"m":{"firstDay":1,'],
  ["of another program", '{"m":{"firstDay":1,"hours":[]}}'],
  ["with weights below nothing", JSON.stringify({ m: { firstDay: 1, hours: Array(24).fill({ weight: -1, day: 1 }) } })],
])("a file %s begins anew, with a word in the log", async (_, text) => {
  const path = join(folder, "usage.json");
  await writeFile(path, text);
  const lines: string[] = [];
  const usage = await UsageFile.open(path, pino({ level: "warn" }, { write: (line) => void lines.push(line) }));
  expect(usage.patterns.models()).toEqual({});
  expect(lines.join("")).toContain("begins anew");
  usage.patterns.note("m", MONDAY);
  await usage.save();
  expect(Object.keys((await UsageFile.open(path, SILENT)).patterns.models())).toEqual(["m"]);
});

test("where nothing can be written it is said once, and nothing else happens", async () => {
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: (line) => void lines.push(line) });
  const usage = await UsageFile.open(join(folder, "nowhere", "usage.json"), log);
  for (const name of ["a", "b"]) {
    usage.patterns.note(name, MONDAY);
    await usage.save();
  }
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain("cannot be written down");
  expect(await readdir(folder)).toEqual([]);
});
