import { runCommand } from "../support/run.ts";
import { serveCommand } from "./command.ts";

await runCommand(serveCommand().name("orchestrator"), process.argv.slice(2));
