// `npm run bench -- NAME`: side-by-side runs against peers on this machine; without a name all of them, one after the other, with their
// defaults. Each benchmark has a folder and a command of its own. test/bench/RESULTS.md keeps what was measured, with its command.
import { Command } from "commander";
import { coldBench } from "./engine/cold.ts";
import { pullBench } from "./engine/pull.ts";
import { speedBench } from "./engine/speed.ts";
import { swapBench } from "./engine/swap.ts";
import { ensembleBench } from "./ensemble/command.ts";
import { faultsBench } from "./faults/command.ts";
import { gatewaysBench } from "./gateways/command.ts";
import { describeMachine } from "./machine.ts";
import { routingBench } from "./routing/command.ts";
import { streamsBench } from "./streams/command.ts";

const BENCHES = [
  ensembleBench,
  gatewaysBench,
  faultsBench,
  streamsBench,
  routingBench,
  pullBench,
  coldBench,
  speedBench,
  swapBench,
];

const program = new Command("bench").description("benchmarks side by side with peers").showHelpAfterError();
for (const bench of BENCHES) program.addCommand(bench());
program.hook("preAction", () => void process.stdout.write(`${describeMachine()}\n`));
program.action(async () => {
  for (const bench of BENCHES) await bench().parseAsync([], { from: "user" });
});
await program.parseAsync();
