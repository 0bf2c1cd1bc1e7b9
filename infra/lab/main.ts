// `npm run lab`: the datacentre in a box, and one answer from it.
import { Command } from "commander";
import { ask, chat } from "./cli/conversation.ts";
import { doctor } from "./cli/doctor.ts";
import { down } from "./cli/down.ts";
import { inside } from "./cli/inside.ts";
import { openLab } from "./cli/open.ts";
import { preview } from "./cli/preview.ts";
import { status } from "./cli/status.ts";
import { terminal } from "./cli/terminal.ts";
import { up } from "./cli/up.ts";
import { DEFAULT_LAB, labOf } from "./lab.ts";
import { parseSetting } from "./cli/settings.ts";
import { runPve } from "./pve/cli.ts";

/** The question of the seed's own example (A72); its follow-up needs the conversation's memory. */
const FIRST_QUESTION = "What is the capital of France?";

const program = new Command("lab")
  .enablePositionalOptions()
  .description(
    "A datacentre in a box: three Proxmox hosts, three K3s nodes, five small models, one judged answer.\nWithout a command: up, then one question.",
  )
  .option("--name <name>", "which lab; several can run side by side", DEFAULT_LAB)
  .option("--no-install", "install no system packages: refuse and name them")
  .option(
    "--set <path=value>",
    "a setting for this run, e.g. nodes.1.memoryMib=10240; the value is JSON or text; repeatable",
    parseSetting,
    {},
  )
  .showHelpAfterError("(see npm run lab -- --help)")
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "")) });

const lab = () => labOf(program.opts<{ name: string }>().name);
/** What every command that runs the stack is told. */
const choices = () => ({ install: install(), settings: program.opts<{ set: Record<string, unknown> }>().set });
const install = () => program.opts<{ install: boolean }>().install;

program.argument("[nothing...]").action(async (words: string[]) => {
  const [word] = words;
  if (word !== undefined) {
    const known = program.commands.map((command) => command.name()).join(", ");
    throw new Error(`command: got ${JSON.stringify(word)}, want one of ${known}, or none (up, then one question).`);
  }
  await up(lab(), choices(), terminal);
  await ask(lab(), FIRST_QUESTION, {}, terminal);
});
program
  .command("up")
  .description("start the lab, or bring it to what the settings say; ask nothing")
  .action(async () => {
    await up(lab(), choices(), terminal);
  });
program
  .command("ask <question>")
  .description("ask one question")
  .option("--json", "every stage: its model, its text, its milliseconds")
  .option("--conversation <id>", "go on with a conversation")
  .action(async (question: string, options: { json?: boolean; conversation?: string }) =>
    ask(lab(), question, options, terminal),
  );
program
  .command("chat")
  .description("talk to the ensemble; `exit` leaves")
  .action(async () => chat(lab()));
program
  .command("status")
  .description("hosts, machines, nodes and pods")
  .option("--json", "as JSON")
  .action(async (options: { json?: boolean }) => status(lab(), options, terminal));
program
  .command("open")
  .description("bring the ensemble's API and the Proxmox APIs to 127.0.0.1")
  .option("--port <port>", "port of the ensemble's API on 127.0.0.1; 0 takes a free one", "8080")
  .action(async (options: { port: string }) => openLab(lab(), options, terminal));
program
  .command("kubectl")
  .description("kubectl against the lab's cluster")
  .argument("[args...]")
  .allowUnknownOption()
  .helpOption(false)
  .passThroughOptions()
  .action(async (args: string[]) => inside.kubectl(lab(), args));
program
  .command("ssh <node> [command...]")
  .description("a shell, or one command, on a node")
  .passThroughOptions()
  .action(async (node: string, command: string[]) => inside.ssh(lab(), node, command));
program
  .command("pulumi")
  .description("the Pulumi CLI on the lab's stack, e.g. `pulumi stack export`")
  .argument("[args...]")
  .allowUnknownOption()
  .helpOption(false)
  .passThroughOptions()
  .action(async (args: string[]) => inside.pulumi(lab(), args));
program
  .command("down")
  .description("end the lab and remove all of it but the caches")
  .action(async () => down(lab(), terminal));
program
  .command("pve")
  .description("the Proxmox API alone")
  .option("--address <address>", "address to listen on", "127.0.0.1")
  .option("--port <port>", "port to listen on", "8006")
  .option("--node <name>", "name of the Proxmox node", "pve")
  .option("--machines <kind>", "what is behind it: none", "none")
  .option("--data <dir>", "folder for its state; a temporary one when absent")
  .requiredOption(
    "--token <token>",
    "API token that it accepts, user@realm!name=uuid; '-' reads it from standard input",
  )
  .action(async (options: Parameters<typeof runPve>[0]) => runPve(options));
program
  .command("preview")
  .description("a real engine preview of a stack; needs no cluster")
  .requiredOption("--stack <name>", "which stack: a file stacks/config/Pulumi.NAME.yaml")
  .option(
    "--token-file <file>",
    "the Proxmox API token, or one for each host as a JSON object; a placeholder when absent",
  )
  .option("--json", "as JSON")
  .action(async (options: { stack: string; tokenFile?: string; json?: boolean }) =>
    preview(lab(), { ...options, settings: choices().settings }, terminal),
  );
program
  .command("doctor")
  .description("what this machine has and lacks for the lab")
  .option("--json", "as JSON")
  .action(async (options: { json?: boolean }) => doctor(options, terminal));

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
