import { Command, Option } from "commander";
import type { EnsembleConfig } from "../contracts/ensemble-config.ts";
import { createLogger, LOG_LEVELS } from "../support/log.ts";
import { integer } from "../support/options.ts";
import { lameDuckMs, onShutdown } from "../support/shutdown.ts";
import { ask, AskError } from "./chat.ts";
import { keyOf, LOCAL_URL } from "./chat/command.ts";
import { discoverLocal, loadConfig } from "./config.ts";
import { startOrchestrator } from "./serve.ts";

interface ServeFlags {
  config?: string;
  host?: string;
  port?: number;
  graceMs: number;
  logLevel: string;
}

/** `serve`: the orchestrator. */
export function serveCommand(): Command {
  return new Command("serve")
    .description("answer questions with the ensemble that the configuration names")
    .option("--config <file>", "ensemble configuration, YAML or JSON; without it the Ollama on this machine is used")
    .option("--host <address>", "address to listen on (default: listen.host of the configuration)")
    .option(
      "--port <number>",
      "port to listen on (default: listen.port of the configuration)",
      integer("port", 0, 65_535),
    )
    .option(
      "--grace-ms <number>",
      "longest wait for running questions at SIGTERM",
      integer("grace-ms", 0, 3_600_000),
      25_000,
    )
    .addOption(new Option("--log-level <level>", "what is logged").choices(LOG_LEVELS).default("info"))
    .action(async (flags: ServeFlags) => {
      const log = createLogger("orchestrator", flags.logLevel);
      const config = withFlags(
        flags.config === undefined ? await discoverLocal() : await loadConfig(flags.config),
        flags,
      );
      const running = await startOrchestrator(config, log, process.env);
      // Before it says that it listens: whoever reads that may stop it at once.
      onShutdown(() => running.stop(flags.graceMs, lameDuckMs(process.env)), log);
      log.info(
        { url: running.listening.url, members: config.members.map(({ name, model, role }) => ({ name, model, role })) },
        "listening",
      );
    });
}

function withFlags(config: EnsembleConfig, { host, port }: ServeFlags): EnsembleConfig {
  return { ...config, listen: { host: host ?? config.listen.host, port: port ?? config.listen.port } };
}

/** `ask`: one question. */
export function askCommand(): Command {
  return new Command("ask")
    .description("ask the ensemble one question")
    .argument("<question>", "the question, in quotes")
    .option("--url <address>", "the orchestrator", LOCAL_URL)
    .option("--user <name>", "whose conversation it is")
    .option("--conversation <id>", "conversation to go on with")
    .option("--both-orders", "ask the judge twice, with the answers in opposite orders", false)
    .addOption(
      new Option("--mode <mode>", "one model's own words, or one answer written from all").choices([
        "select",
        "synthesize",
      ]),
    )
    .option("--key-file <file>", "file with the key, where one is wanted (or set GORKHEAVY_KEY)")
    .option("--json", "print every stage, its model, its text and its milliseconds", false)
    .action(
      async (
        question: string,
        flags: {
          url: string;
          user?: string;
          conversation?: string;
          bothOrders: boolean;
          mode?: "select" | "synthesize";
          keyFile?: string;
          json: boolean;
        },
      ) => {
        try {
          const answer = await ask({ ...flags, question, key: await keyOf(flags.keyFile, process.env) });
          process.stdout.write(
            flags.json ? `${JSON.stringify(answer, null, 2)}\n` : `YOU: ${question}\nReply: ${answer.reply}\n`,
          );
        } catch (error) {
          if (flags.json && error instanceof AskError) {
            const { code, message, stages } = error;
            process.stdout.write(`${JSON.stringify({ error: { code, message, stages } }, null, 2)}\n`);
          }
          throw error;
        }
      },
    );
}
