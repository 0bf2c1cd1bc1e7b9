import { Command } from "commander";
import { prepareAll } from "../peers/prepare.ts";
import { MODEL, type PreparedGateway } from "../peers/gateway.ts";
import { gorkheavy } from "../peers/gorkheavy.ts";
import { litellm } from "../peers/litellm.ts";
import { portkey } from "../peers/portkey.ts";
import { writeResults } from "../results.ts";
import { benchFaults, DEADLINE_MS, type Entry, strikesOf } from "./run.ts";
import { cellTable, scoreTable } from "./score.ts";

/** Name under which both models together answer. Source: the configuration's default for `name`. */
const ENSEMBLE = "gorkheavy:latest";

/** `faults`: what clients see of each gateway while one of two models fails. */
export function faultsBench(): Command {
  return new Command("faults")
    .description("what clients of gorkheavy, Portkey and LiteLLM see while one of two models fails")
    .option("--quick", "each fault at one time only", false)
    .option("--write", "put the tables into test/bench/RESULTS.md", false)
    .action(async ({ quick, write }: { quick: boolean; write: boolean }) => {
      const say = (line: string): void => void process.stderr.write(`${line}\n`);
      const { ready, absent } = await prepareAll([gorkheavy, portkey, litellm], say);
      const entries = ready.flatMap(entriesOf);
      const runs = await Promise.all(
        entries.map(async (entry) => ({
          name: entry.name,
          cells: await benchFaults(entry, strikesOf(quick), say),
        })),
      );
      const body = [
        "Two models behind each gateway, the first of which fails; Portkey and LiteLLM have the second as their fallback and two retries. " +
          `Every fault at every time, streamed and not; a hang is ${DEADLINE_MS / 1000} s without an end.`,
        scoreTable(runs),
        "Cells that ended otherwise than in a whole answer or one typed error, for any of them:",
        cellTable(runs),
        ...absent,
      ].join("\n\n");
      process.stdout.write(`\n${body}\n`);
      if (write)
        await writeResults("Faults behind a gateway", `npm run bench -- faults${quick ? " --quick" : ""}`, body);
    });
}

/** Ours takes part twice: one model passed through, which has no other to fall back on, and both as an ensemble. */
function entriesOf(gateway: PreparedGateway): Entry[] {
  if (!gateway.name.startsWith("gorkheavy")) return [{ name: gateway.name, gateway, model: MODEL }];
  return [
    { name: "gorkheavy, both as an ensemble", gateway, model: ENSEMBLE },
    { name: "gorkheavy, the one passed through", gateway, model: MODEL },
  ];
}
