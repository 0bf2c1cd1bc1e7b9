import { access } from "node:fs/promises";
import { Command } from "commander";
import { recreate, type Recreated, suppose, type Supposed } from "../../core/routing/replay.ts";
import type { VerdictRecord } from "../../contracts/verdict-record.ts";
import { integer, share } from "../../support/options.ts";
import { readVerdicts, VerdictsFileError } from "./verdict-log.ts";

/** Most bad lines that an error names. */
const MOST_NAMED = 5;

/** `routing`: what the verdicts file has to say. */
export function routingCommand(): Command {
  const replay = new Command("replay")
    .description(
      "decide every recorded question again, and tell what other thresholds would have saved and lost\n\n" +
        "Reads the file that the setting routing.verdictsFile names (and FILE.1, where there is one). First every route is decided again\n" +
        "from what it was decided from then: it must come out the same to the last byte. Then, for each --threshold, the questions are gone\n" +
        "through as if routing.awarenessThreshold had been that: which calls and seconds would have been saved, and how often the winner of\n" +
        "the whole panel would not have been asked (lost).",
    )
    .requiredOption("--verdicts <file>", "the verdicts file")
    .option(
      "--threshold <share...>",
      "thresholds to try, each from 0 to 1, such as --threshold 0.6 0.8 0.9",
      (text: string, before: number[] = []) => [...before, share("threshold")(text)],
    )
    .option("--window <number>", "newest verdicts that are learned from", integer("window", 1, 20_000), 2_000)
    .option("--json", "print all figures and every difference as JSON", false)
    .action(async (flags: { verdicts: string; threshold?: number[]; window: number; json: boolean }) => {
      const records = await allVerdicts(flags.verdicts);
      const recreated = recreate(records);
      const supposed = (flags.threshold ?? []).map((threshold) => suppose(records, threshold, flags.window));
      process.stdout.write(
        flags.json
          ? `${JSON.stringify({ verdicts: records.length, recreated, supposed }, null, 2)}\n`
          : `${inWords(records, recreated)}${tableOf(supposed)}`,
      );
      if (recreated.different.length > 0) process.exitCode = 1;
    });
  return new Command("routing").description("look into what routing has learned from past verdicts").addCommand(replay);
}

/** The verdicts of a file and of the one set aside before it. @throws VerdictsFileError naming each line that is no verdict */
async function allVerdicts(file: string): Promise<VerdictRecord[]> {
  const older = await access(`${file}.1`).then(
    () => readVerdicts(`${file}.1`),
    () => undefined,
  );
  const newer = await readVerdicts(file);
  const bad = [...(older?.bad ?? []), ...newer.bad];
  if (bad.length > 0) {
    const named = bad
      .slice(0, MOST_NAMED)
      .map(({ file: where, line, message }) => `${where}, line ${line}: ${message}`);
    const more = bad.length > MOST_NAMED ? `\nand ${bad.length - MOST_NAMED} more` : "";
    throw new VerdictsFileError(
      `${named.join("\n")}${more}\nMend or remove these lines; the service itself leaves them out`,
    );
  }
  return [...(older?.records ?? []), ...newer.records].toSorted((a, b) => a.seq - b.seq);
}

function inWords(records: readonly VerdictRecord[], { same, different, unchecked }: Recreated): string {
  const lines = [
    `${records.length} verdicts; ${same} routes came out the same, ${different.length} otherwise, ${unchecked} could not be checked` +
      (unchecked === 0 ? "" : " (verdicts that they were decided from are gone)"),
    ...different.map(
      ({ seq, recorded, again }) =>
        `  verdict ${seq}: was ${recorded.asked.join(", ")} (${recorded.reason}), now ${again.asked.join(", ")} (${again.reason})`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}

function tableOf(supposed: readonly Supposed[]): string {
  if (supposed.length === 0) return "";
  const rows = supposed.map((one) =>
    [
      one.threshold,
      one.questions,
      one.routed,
      one.lost,
      one.escalated,
      `${one.callsSaved} of ${one.calls}`,
      `${seconds(one.modelMsSaved)} of ${seconds(one.modelMs)}`,
      `${seconds(one.waitMsSaved)} of ${seconds(one.waitMs)}`,
    ].join(" | "),
  );
  const left = supposed[0]?.unknown ?? 0;
  return (
    "\n| threshold | questions | routed | lost | asked the rest too | calls saved | model seconds saved | seconds of waiting saved |\n" +
    `| ${"--- | ".repeat(8).trimEnd()}\n${rows.map((row) => `| ${row} |\n`).join("")}` +
    (left === 0
      ? ""
      : `${left} more are left out: part of their panel was not asked or failed, so nobody knows who would have won\n`)
  );
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
