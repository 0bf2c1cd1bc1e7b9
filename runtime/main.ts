import { Command } from "commander";
import { runCommand } from "./support/run.ts";

/** Commands by name. Only the one that is called is loaded: a service's start must not pay for the others. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  engine: async () => (await import("./engine/command.ts")).engineCommand(),
  models: async () => (await import("./engine/store/command.ts")).modelsCommand(),
  serve: async () => (await import("./orchestrator/command.ts")).serveCommand(),
  chat: async () => (await import("./orchestrator/chat/command.ts")).chatCommand(),
  ask: async () => (await import("./orchestrator/command.ts")).askCommand(),
  history: async () => (await import("./orchestrator/history.ts")).historyCommand(),
  eval: async () => (await import("./orchestrator/eval/command.ts")).evalCommand(),
  routing: async () => (await import("./orchestrator/routing/command.ts")).routingCommand(),
  keys: async () => (await import("./orchestrator/access/command.ts")).keysCommand(),
};

const argv = process.argv.slice(2);
const called = Object.keys(COMMANDS).filter((name) => name === argv[0]);
const program = new Command("gorkheavy").description(
  "an ensemble of small language models that answers with one voice",
);
// Without a command that is known it is help or a mistake, and both are answered with all of them.
for (const name of called.length > 0 ? called : Object.keys(COMMANDS)) {
  const command = await COMMANDS[name]?.();
  if (command !== undefined) program.addCommand(command);
}

await runCommand(program, argv);
