import { Command } from "commander";
import { engineCommand } from "./engine/command.ts";
import { keysCommand } from "./orchestrator/access/command.ts";
import { askCommand, chatCommand, serveCommand } from "./orchestrator/command.ts";
import { runCommand } from "./support/run.ts";

const program = new Command("gorkheavy")
  .description("an ensemble of small language models that answers with one voice")
  .addCommand(engineCommand())
  .addCommand(serveCommand())
  .addCommand(chatCommand())
  .addCommand(askCommand())
  .addCommand(keysCommand());

await runCommand(program, process.argv.slice(2));
