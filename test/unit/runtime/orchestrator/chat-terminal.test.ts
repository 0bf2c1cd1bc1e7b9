// The chat on streams that say they are a terminal, and over connections that break.
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keyOf } from "../../../../runtime/orchestrator/chat/command.ts";
import { chatLoop, type ChatOptions } from "../../../../runtime/orchestrator/chat/loop.ts";
import { cut, visible, wrapped } from "../../../../runtime/orchestrator/chat/screen.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";

let ensemble: MockEnsemble;
let folder: string;
beforeEach(async () => {
  ensemble = await startMockEnsemble();
  folder = await mkdtemp(join(tmpdir(), "gorkheavy-chat-"));
});
afterEach(async () => {
  await ensemble.close();
  await rm(folder, { recursive: true });
});

interface Shown {
  type(keys: string): void;
  /** Everything that was written so far. */
  text(): string;
  /** Waits until something was written. */
  until(what: string | RegExp): Promise<void>;
  ended: Promise<void>;
}

/** Starts a chat on a terminal of so many columns; a pipe with 0. */
function start(options: Partial<ChatOptions> = {}, columns = 80): Shown {
  const terminal = columns > 0;
  const input = Object.assign(new PassThrough(), { isTTY: terminal, setRawMode: () => undefined });
  const output = Object.assign(new PassThrough(), { isTTY: terminal, columns });
  let text = "";
  output.on("data", (part: Buffer) => (text += part.toString()));
  const ended = chatLoop({ url: ensemble.url, input, output, colour: false, ...options });
  return {
    type: (keys) => input.write(keys),
    text: () => text,
    until: (what) => expect.poll(() => text, { timeout: 15_000 }).toMatch(what),
    ended,
  };
}

/** What stays on a screen after all that was taken back is gone: cursor up and clear below are obeyed. */
function screenOf(text: string): string {
  const rows = [""];
  for (const part of text.split(/(\u001b\[\d*[AJGKm]|\r?\n|\r)/)) {
    const up = /^\u001b\[(\d+)A$/.exec(part);
    if (up !== null) rows.splice(Math.max(0, rows.length - Number(up[1]) - 1) + 1, rows.length, ...[]);
    else if (part === "\u001b[J") rows[rows.length - 1] = "";
    else if (part.endsWith("\n")) rows.push("");
    else if (!part.startsWith("\u001b") && part !== "\r") rows[rows.length - 1] += part;
  }
  return rows.join("\n");
}

describe("on a terminal", () => {
  test("rows say who is thinking, are drawn again, and give way to who won and the reply", async () => {
    ensemble.mocks.llama.behaviour.prefillMs = 250;
    const chat = start();
    chat.type("Why?\r");
    await chat.until("Reply: An answer by llama here.");
    chat.type("exit\r");
    await chat.ended;
    const turns = [...chat.text().matchAll(/(\S) llama \(llama:1b\) is thinking/g)].map(([, turn]) => turn);
    expect(new Set(turns).size).toBeGreaterThan(1);
    expect(chat.text()).toMatch(/✓ qwen \(qwen:1b\) ok after \d+ ms/);
    expect(chat.text()).toMatch(/\u001b\[\d+A\r\u001b\[J/);
    const left = screenOf(chat.text());
    expect(left).toMatch(/llama \(llama:1b\) won: the judge chose it\nReply: An answer by llama here\.\n/);
    expect(left).not.toContain("is thinking");
    expect(left).toMatch(/go on with: --conversation [0-9a-f-]{36}\n$/);
  });

  test("a draft is shown as one, and the reply says whose it was when another won", async () => {
    for (const name of ["llama", "qwen"] as const) ensemble.mocks[name].behaviour.prefillMs = 300;
    ensemble.mocks.promptimizer.behaviour.fault = () => "500";
    const chat = start({ draft: true });
    chat.type("Why?\r");
    await chat.until("Reply: An answer by llama here.");
    chat.type("exit\r");
    await chat.ended;
    expect(chat.text()).toContain("draft by qwen-small, may be replaced:");
    expect(chat.text()).toContain("  An answer by qwen-small here.");
    const left = screenOf(chat.text());
    expect(left).toContain("won: the judge chose it; the draft was qwen-small's\n");
    expect(left).not.toContain("An answer by qwen-small here.");
  });

  test("no row is wider than a narrow terminal, and no colour is written where none is wanted", async () => {
    ensemble.mocks.llama.behaviour.prefillMs = 150;
    const chat = start({ draft: true }, 24);
    chat.type("Why?\r");
    await chat.until("Reply:");
    chat.type("exit\r");
    await chat.ended;
    const drawn = chat
      .text()
      .split("\n")
      .filter((row) => /thinking|ok after|draft|promptimizer/.test(row) && !row.includes("won"));
    expect(drawn.length).toBeGreaterThan(3);
    for (const row of drawn) expect(row.replace(/\u001b\[\d*[A-Za-z]|\r/g, "").length).toBeLessThan(24);
    expect(chat.text()).not.toMatch(/\u001b\[[0-9;]*m/);
    const coloured = start({ colour: true });
    coloured.type("Why?\r");
    await coloured.until("\u001b[1mReply: \u001b[0m");
    coloured.type("exit\r");
    await coloured.ended;
  });

  test("Ctrl-C stops the models of the running answer, and the chat goes on; Ctrl-C then leaves", async () => {
    ensemble.mocks.llama.behaviour.fault = () => "stall";
    const chat = start();
    chat.type("Why?\r");
    await chat.until("llama (llama:1b) is thinking");
    await expect.poll(() => ensemble.mocks.llama.calls.length).toBe(1);
    chat.type("\u0003");
    await chat.until("Error: stopped");
    await expect.poll(() => ensemble.mocks.llama.calls[0]?.closedEarly).toBe(true);
    ensemble.mocks.llama.behaviour.fault = () => undefined;
    chat.type("Again?\r");
    await chat.until("Reply: An answer by llama here.");
    chat.type("\u0003");
    await chat.ended;
  });

  test("what a model writes moves no cursor", async () => {
    ensemble.mocks.llama.behaviour.answer = () => "An answer by llama\u001b[2J\u001b]0;owned\u0007 here.";
    const chat = start();
    chat.type("Why?\r");
    await chat.until("Reply: An answer by llama[2J]0;owned here.");
    expect(chat.text()).not.toContain("\u001b[2J");
    chat.type("exit\r");
    await chat.ended;
  });

  test("what was typed comes back with the arrow in the next chat, from a file for its owner alone", async () => {
    const inputsFile = join(folder, "state", "chat-history");
    const first = start({ inputsFile });
    first.type("Why is that?\r");
    await first.until("Reply:");
    first.type("exit\r");
    await first.ended;
    expect((await stat(inputsFile)).mode & 0o777).toBe(0o600);
    expect(await readFile(inputsFile, "utf8")).toBe("Why is that?\nexit\n");
    const second = start({ inputsFile });
    await second.until("YOU: ");
    second.type("\u001b[A\u001b[A\r");
    await second.until("Reply:");
    second.type("exit\r");
    await second.ended;
    expect(ensemble.mocks.llama.calls.map(({ prompt }) => prompt)).toEqual(["Why is that?", "Why is that?"]);
  });
});

describe("its commands", () => {
  test("show, list, begin and open conversations", async () => {
    const chat = start({ user: "ann" }, 0);
    chat.type("First question\n");
    await chat.until("Reply: An answer by llama here.");
    chat.type("/history\n");
    await chat.until("Reply (llama): An answer by llama here.");
    chat.type("/conversations\n");
    await chat.until(/[0-9a-f-]{36} {2}1 turns {2}First question/);
    const [, id = ""] = /([0-9a-f-]{36}) {2}1 turns/.exec(chat.text()) ?? [];
    chat.type("/new other\n/history\n");
    await chat.until("nothing was said in this conversation yet");
    chat.type(`/open ${id}\nSecond question\n`);
    await expect.poll(() => ensemble.mocks.llama.calls.length).toBe(2);
    expect(ensemble.mocks.llama.calls[1]?.body.messages.map(({ content }) => content)).toContain("First question");
    chat.type("/nope\nexit\n");
    await chat.until("Error: /nope: no such command; /help lists them");
    await chat.ended;
  });
});

describe("on a pipe", () => {
  test("a draft is named as one before the reply, and nothing is taken back", async () => {
    for (const name of ["llama", "qwen"] as const) ensemble.mocks[name].behaviour.prefillMs = 300;
    ensemble.mocks.promptimizer.behaviour.fault = () => "500";
    const chat = start({ draft: true, quiet: true }, 0);
    chat.type("Why?\nexit\n");
    await chat.ended;
    expect(chat.text()).toBe(
      "YOU: Draft by qwen-small, provisional: An answer by qwen-small here.\nReply: An answer by llama here.\nYOU: \n",
    );
  });

  test("an answer whose connection breaks again and again is whole", async () => {
    ensemble.mocks.llama.behaviour.answer = () => `An answer by llama: ${"wörd ".repeat(40)}end`;
    ensemble.mocks.llama.behaviour.tokenMs = 15;
    const proxy = await breakable(Number(new URL(ensemble.url).port));
    try {
      const chat = start({ url: proxy.url }, 0);
      chat.type("Why?\n");
      await chat.until("is thinking");
      for (let cuts = 0; cuts < 3; cuts++) {
        proxy.cut();
        await expect
          .poll(() => chat.text().match(/connection is back/g)?.length ?? 0, { timeout: 15_000 })
          .toBe(cuts + 1);
      }
      await chat.until(`Reply: An answer by llama: ${"wörd ".repeat(40)}end\n`);
      chat.type("exit\n");
      await chat.ended;
      expect(chat.text()).toContain("(connection lost; going on as soon as it is back)");
      expect(ensemble.mocks.llama.calls).toHaveLength(1);
    } finally {
      await proxy.close();
    }
  });
});

describe("the key", () => {
  test("goes with the handshake, and a wrong one is said to be wrong", async () => {
    const guarded = await startMockEnsemble({}, { horn: { tokenEnv: "HORN_TOKEN" } }, { HORN_TOKEN: "secret-of-ann" });
    try {
      const chat = start({ url: guarded.url, key: "secret-of-ann", quiet: true }, 0);
      chat.type("Why?\nexit\n");
      await chat.ended;
      expect(chat.text()).toContain("Reply: An answer by llama here.");
      const wrong = start({ url: guarded.url, key: "secret-of-bob", quiet: true }, 0);
      wrong.type("Why?\nexit\n");
      await wrong.ended;
      expect(wrong.text()).toContain("Error: authorization: the token is wrong");
      expect(wrong.text()).not.toContain("secret-of-bob");
    } finally {
      await guarded.close();
    }
  });

  test("comes from a file or the environment", async () => {
    const file = join(folder, "key");
    await writeFile(file, "gh_ann_abc\n");
    expect(await keyOf(file, { GORKHEAVY_KEY: "other" })).toBe("gh_ann_abc");
    expect(await keyOf(undefined, { GORKHEAVY_KEY: "gh_bob_abc" })).toBe("gh_bob_abc");
    expect(await keyOf(undefined, { GORKHEAVY_KEY: "" })).toBeUndefined();
    await expect(keyOf(join(folder, "none"), {})).rejects.toThrow(/--key-file .*none: cannot be read \(ENOENT\)/);
    await writeFile(file, "two\nsecret-lines\n");
    await expect(keyOf(file, {})).rejects.toThrow(/want one line/);
    await expect(keyOf(file, {})).rejects.not.toThrow(/secret-lines/);
  });
});

test("says what to start when nobody answers", async () => {
  const chat = start({ url: "http://127.0.0.1:9" }, 0);
  chat.type("Why?\nexit\n");
  await chat.ended;
  expect(chat.text()).toContain(
    "Error: no orchestrator answers at http://127.0.0.1:9 (ECONNREFUSED); start one with `gorkheavy serve --config ensemble.yaml`",
  );
});

test("text is cut and wrapped by the columns that it takes", () => {
  expect(cut("日本語 text", 7)).toBe("日本語 ");
  expect(wrapped("ab🎺cd", 3)).toEqual(["ab", "🎺c", "d"]);
  expect(wrapped("e\u0301e\u0301e", 2)).toEqual(["e\u0301e\u0301", "e"]);
  expect(wrapped("one\n\ntwo", 10)).toEqual(["one", "", "two"]);
  expect(visible("a\u001b[31mb\u009b\u202ec\td\n")).toBe("a[31mbc\td\n");
});

/** A TCP relay whose connections can be cut. */
async function breakable(port: number): Promise<{ url: string; cut(): void; close(): Promise<void> }> {
  const open = new Set<Socket>();
  const server: Server = createServer((client) => {
    const service = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [client, service],
      [service, client],
    ] as const) {
      open.add(from);
      from.pipe(to);
      from.on("error", () => undefined);
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cutAll = (): void => {
    for (const socket of open) socket.destroy();
    open.clear();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: cutAll,
    close: async () => {
      cutAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
