import { Command } from "commander";
import { integer } from "../../../runtime/support/options.ts";
import { gorkheavy } from "../peers/gorkheavy.ts";
import type { Gateway } from "../peers/gateway.ts";
import { litellm } from "../peers/litellm.ts";
import { nginx } from "../peers/nginx.ts";
import { prepareAll } from "../peers/prepare.ts";
import { portkey } from "../peers/portkey.ts";
import { writeResults } from "../results.ts";
import { aimsOf, aimsTable } from "./aims.ts";
import { allCells, quickCells } from "./cells.ts";
import { prepareLoad } from "./load.ts";
import { benchGateways, type Entry } from "./run.ts";
import { tables } from "./summary.ts";

/** Everyone that can take part, in the order of their turns. */
const GATEWAYS: Readonly<Record<string, Gateway>> = { nginx, gorkheavy, portkey, litellm };
/** LiteLLM answers so few that seconds and not rounds make its figures steady. */
const SLOW_SECONDS = 3;

interface Flags {
  quick: boolean;
  rounds?: number;
  peers: string;
  write: boolean;
}

/** `gateways`: one model behind each gateway, side by side. */
export function gatewaysBench(): Command {
  return new Command("gateways")
    .description("one model passed through nginx, gorkheavy, Portkey and LiteLLM, side by side")
    .option("--quick", "fewer cells and rounds: three minutes", false)
    .option("--rounds <number>", "rounds of each cell (default: 3, with --quick 2)", integer("rounds", 1, 100))
    .option("--peers <names>", "who takes part, comma-separated", Object.keys(GATEWAYS).join(","))
    .option("--write", "put the tables into test/bench/RESULTS.md", false)
    .action(async ({ quick, rounds = quick ? 2 : 3, peers, write }: Flags) => {
      const say = (line: string): void => void process.stderr.write(`${line}\n`);
      const wanted = chosen(peers);
      await prepareLoad(say);
      const { ready, absent } = await prepareAll(wanted, say);
      const entries = ready.map((gateway): Entry => {
        const slow = gateway.name.startsWith("LiteLLM");
        return slow
          ? { gateway, rounds: 1, seconds: SLOW_SECONDS, starts: 1 }
          : { gateway, rounds, seconds: 1, starts: quick ? 3 : 9 };
      });
      const cells = quick ? quickCells() : allCells();
      const seen = await benchGateways(entries, cells, rounds, say);
      const named = (start: string): string => ready.find(({ name }) => name.startsWith(start))?.name ?? start;
      const aims = aimsOf(seen, cells, {
        ours: named("gorkheavy"),
        portkey: named("Portkey"),
        litellm: named("LiteLLM"),
      });
      const body = [
        "Each gateway alone on core 0, load (wrk) and model server on core 1; the contestants take turns in each round.",
        aimsTable(aims),
        tables(seen, cells),
        ...absent,
      ].join("\n\n");
      process.stdout.write(`\n${body}\n`);
      const flags = `${quick ? " --quick" : ""} --rounds ${rounds}`;
      if (write) await writeResults("Gateways in front of one model", `npm run bench -- gateways${flags}`, body);
    });
}

/** @throws Error naming what is not known and what is */
function chosen(peers: string): Gateway[] {
  return peers.split(",").map((name) => {
    const gateway = GATEWAYS[name];
    if (gateway === undefined)
      throw new Error(`--peers: got ${name}, want names of ${Object.keys(GATEWAYS).join(", ")}, comma-separated`);
    return gateway;
  });
}
