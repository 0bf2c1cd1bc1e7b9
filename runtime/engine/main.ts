import { runCommand } from "../support/run.ts";
import { engineCommand } from "./command.ts";

await runCommand(engineCommand().name("engine"), process.argv.slice(2));
