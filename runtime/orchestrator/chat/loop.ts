import { randomUUID } from "node:crypto";
import { createInterface, type Interface } from "node:readline";
import { ConversationList, ConversationPage } from "../../contracts/conversations.ts";
import { AskError, type Reach } from "../chat.ts";
import { HornClient } from "../horn/client.ts";
import { readInputs, writeInputs } from "./inputs.ts";
import { type Output, PlainScreen, type Screen, TerminalScreen, visible } from "./screen.ts";

/** A chat on a terminal or on any pair of streams. */
export interface ChatOptions extends Reach {
  input: NodeJS.ReadableStream & { isTTY?: boolean };
  output: NodeJS.WritableStream & Output;
  /** Shows the replies alone. @default false */
  quiet?: boolean;
  /** Shows the first words of a model at once, which the reply may replace. @default false */
  draft?: boolean;
  user?: string;
  /** @default a new one */
  conversation?: string;
  /** Colours on a terminal. @default true */
  colour?: boolean;
  /** File in which a terminal's inputs are kept for the up arrow. Absent: they are not kept. */
  inputsFile?: string;
}

/** What the chat says when it waits for a question. */
const PROMPT = "YOU: ";
/** Turns of `/history`, and conversations of `/conversations`, that are shown. */
const SHOWN = 20;

const HELP = [
  "/history         what was said in this conversation",
  "/conversations   the conversations that are kept",
  "/open ID         go on with one of them",
  "/new             begin another",
  "exit             leave",
];

/**
 * Asks at `YOU:` and prints `Reply:` until `exit`, Ctrl-D or the end of the input. Ctrl-C stops the running answer, and leaves when none runs
 * or when it is pressed again. An error is printed and the chat goes on.
 */
export async function chatLoop(options: ChatOptions): Promise<void> {
  await new Chat(options).run();
}

class Chat {
  readonly #options: ChatOptions;
  readonly #screen: Screen;
  readonly #terminal: boolean;
  readonly #horn: HornClient;
  #conversation: string;
  #asked = 0;
  #running: AbortController | undefined;
  #closed = false;

  constructor(options: ChatOptions) {
    const { input, output, colour = true, quiet = false } = options;
    this.#options = options;
    this.#terminal = input.isTTY === true;
    this.#screen =
      output.isTTY === true && !quiet ? new TerminalScreen(output, colour) : new PlainScreen(output, quiet);
    this.#conversation = options.conversation ?? randomUUID();
    this.#horn = new HornClient({
      ...options,
      connection: (state) =>
        this.#screen.note(
          state === "lost" ? "(connection lost; going on as soon as it is back)" : "(connection is back)",
        ),
    });
  }

  async run(): Promise<void> {
    const { input, output, inputsFile } = this.#options;
    const history = this.#terminal && inputsFile !== undefined ? await readInputs(inputsFile) : [];
    const lines = createInterface({ input, output, terminal: this.#terminal, prompt: PROMPT, history });
    let typed = history;
    lines.on("history", (now) => {
      typed = now;
    });
    lines.on("close", () => {
      this.#closed = true;
      if (this.#terminal) this.#running?.abort();
    });
    lines.on("SIGINT", () => this.#interrupted(lines));
    this.#prompt(lines);
    for await (const line of lines) {
      const words = line.trim();
      if (words.toLowerCase() === "exit") break;
      if (words !== "") await this.#take(words);
      if (this.#closed && this.#terminal) break;
      this.#prompt(lines);
    }
    lines.close();
    this.#horn.close();
    output.write("\n");
    if (this.#terminal && inputsFile !== undefined)
      await writeInputs(inputsFile, typed).catch((error: unknown) => this.#screen.error(messageOf(error)));
    if (this.#terminal && this.#asked > 0) this.#screen.note(`go on with: --conversation ${this.#conversation}`);
  }

  /** A pipe's lines may all be read, and the interface closed, while the first question is still in work: only a terminal is prompted through it. */
  #prompt(lines: Interface): void {
    if (!this.#terminal) this.#options.output.write(PROMPT);
    else if (!this.#closed) lines.prompt();
  }

  #interrupted(lines: Interface): void {
    if (this.#running === undefined || this.#running.signal.aborted) lines.close();
    else this.#running.abort();
  }

  async #take(words: string): Promise<void> {
    this.#running = new AbortController();
    try {
      if (words.startsWith("/")) await this.#command(words);
      else await this.#ask(words, this.#running.signal);
    } catch (error) {
      this.#screen.error(messageOf(error));
    } finally {
      this.#running = undefined;
      this.#screen.done();
    }
  }

  async #ask(question: string, signal: AbortSignal): Promise<void> {
    const { user, draft } = this.#options;
    this.#asked++;
    for await (const event of this.#horn.ask({ question, user, draft, conversation: this.#conversation }, signal)) {
      if (event.event === "error") throw new AskError(event.error.message, event.error.code, event.error.stages);
      this.#screen.event(event);
    }
  }

  async #command(line: string): Promise<void> {
    const [name = line, argument] = line.split(/\s+/);
    switch (name) {
      case "/new":
        this.#conversation = argument ?? randomUUID();
        this.#screen.note(`conversation ${this.#conversation}`);
        return;
      case "/open":
        if (argument === undefined) throw new Error("/open: want the id of a conversation; /conversations lists them");
        this.#conversation = argument;
        await this.#history();
        return;
      case "/history":
        await this.#history();
        return;
      case "/conversations":
        await this.#conversations();
        return;
      case "/help":
        for (const text of HELP) this.#screen.note(text);
        return;
      default:
        throw new Error(`${name}: no such command; /help lists them`);
    }
  }

  async #history(): Promise<void> {
    const body = await this.#get(`/v1/conversations/${encodeURIComponent(this.#conversation)}`);
    const page = ConversationPage.safeParse(body);
    const turns = page.success ? page.data.turns : [];
    if (turns.length === 0) this.#screen.note("nothing was said in this conversation yet");
    for (const { question, answer, member } of turns.slice(-SHOWN)) {
      this.#screen.note(`${PROMPT}${visible(question)}`);
      this.#screen.note(`Reply (${member}): ${visible(answer)}`);
    }
  }

  async #conversations(): Promise<void> {
    const list = ConversationList.safeParse(await this.#get(`/v1/conversations?limit=${SHOWN}`));
    const known = list.success ? list.data.conversations : [];
    if (known.length === 0) this.#screen.note("no conversations are kept");
    for (const { id, turns, title } of known) this.#screen.note(`${id}  ${turns} turns  ${visible(title)}`);
  }

  /** A document of the service; undefined where it has none of that name. @throws AskError */
  async #get(path: string): Promise<unknown> {
    const { url, fetch = globalThis.fetch, key, user } = this.#options;
    const headers = {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(user === undefined ? {} : { "x-gorkheavy-user": user }),
    };
    let response: Response;
    try {
      response = await fetch(`${url.replace(/\/+$/, "")}${path}`, { headers });
    } catch (cause) {
      throw new AskError(`no orchestrator answers at ${url}`, undefined, [], cause);
    }
    if (response.status === 404) return undefined;
    if (!response.ok) throw new AskError(`${url} answered ${response.status} to ${path}`);
    return response.json().catch(() => undefined);
  }
}

function messageOf(error: unknown): string {
  if (error instanceof AskError && error.code === "cancelled") return "stopped";
  return error instanceof Error ? error.message : "failed";
}
