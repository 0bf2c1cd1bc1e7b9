import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { chatLoop } from "./loop.ts";

/** Where an orchestrator listens by default. */
export const LOCAL_URL = "http://127.0.0.1:8080";
/** Environment variable with the key of a client. Not an option: arguments can be read by everybody on the machine. */
const KEY_VARIABLE = "GORKHEAVY_KEY";

interface ChatFlags {
  url: string;
  user?: string;
  conversation?: string;
  keyFile?: string;
  quiet: boolean;
  draft: boolean;
  history: boolean;
}

/** `chat`: a conversation on the terminal. */
export function chatCommand(): Command {
  return new Command("chat")
    .description("talk to the ensemble; /help lists what else it understands, exit leaves")
    .option("--url <address>", "the orchestrator", LOCAL_URL)
    .option("--user <name>", "whose conversation it is")
    .option("--conversation <id>", "conversation to go on with")
    .option("--key-file <file>", `file with the key, where one is wanted (or set ${KEY_VARIABLE})`)
    .option("--draft", "show a model's words at once; the reply may replace them", false)
    .option("--quiet", "show the replies and not who thinks and who won", false)
    .option("--no-history", "do not keep what is typed for the up arrow")
    .action(async ({ keyFile, history, ...flags }: ChatFlags) => {
      const { env } = process;
      await chatLoop({
        ...flags,
        key: await keyOf(keyFile, env),
        // Source: https://no-color.org: any value that is not empty.
        colour: (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
        inputsFile: history ? inputsFile(env) : undefined,
        input: process.stdin,
        output: process.stdout,
      });
      // A terminal's input would hold the process.
      process.stdin.unref();
    });
}

/** Source: XDG Base Directory Specification, XDG_STATE_HOME. */
function inputsFile(env: Readonly<Record<string, string | undefined>>): string {
  return join(env["XDG_STATE_HOME"] ?? join(homedir(), ".local", "state"), "gorkheavy", "chat-history");
}

/** The key of a file, or else of the environment; undefined where neither has one. @throws Error naming the file, and nothing that is in it */
export async function keyOf(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  if (file === undefined) return env[KEY_VARIABLE] === "" ? undefined : env[KEY_VARIABLE];
  let text: string;
  try {
    text = (await readFile(file, "utf8")).trim();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
    throw new Error(`--key-file ${file}: cannot be read (${code})`, { cause });
  }
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new Error(`--key-file ${file}: want one line of printable characters, the key`);
}
