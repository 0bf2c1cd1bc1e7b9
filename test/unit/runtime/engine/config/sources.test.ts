import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { EngineConfigSchema } from "../../../../../runtime/contracts/engine-config.ts";
import { engineCommand } from "../../../../../runtime/engine/command.ts";
import { printConfig } from "../../../../../runtime/engine/config/print.ts";
import { optionOf, SETTINGS, variableOf } from "../../../../../runtime/engine/config/settings.ts";
import { type Resolved, resolveConfig, type Sources } from "../../../../../runtime/engine/config/sources.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "config-"));
  await mkdir(join(folder, "secret"));
});
afterEach(() => rm(folder, { recursive: true }));

interface Given {
  file?: string;
  secrets?: Record<string, string>;
  env?: Sources["env"];
  flags?: Sources["flags"];
}

async function resolved({ file, secrets, env = {}, flags = {} }: Given): Promise<Resolved> {
  if (file !== undefined) await writeFile(join(folder, "engine.yaml"), file);
  for (const [name, text] of Object.entries(secrets ?? {})) await writeFile(join(folder, "secret", name), text);
  return resolveConfig({
    env,
    flags,
    ...(file === undefined ? {} : { file: join(folder, "engine.yaml") }),
    ...(secrets === undefined ? {} : { secrets: join(folder, "secret") }),
  });
}

describe("sources", () => {
  test("each wins over those before it: file, Secret, environment, flag", async () => {
    const all: Given = {
      file: "slots: 3",
      secrets: { slots: "4\n" },
      env: { GORKHEAVY_SLOTS: "5" },
      flags: { slots: "6" },
    };
    const seen: unknown[] = [];
    for (const without of [[], ["flags"], ["flags", "env"], ["flags", "env", "secrets"]]) {
      const given = Object.fromEntries(Object.entries(all).filter(([key]) => !without.includes(key)));
      const { config, from } = await resolved(given);
      seen.push([config.slots, from.get("slots")?.replace(folder, "")]);
    }
    expect(seen).toEqual([
      [6, "--slots"],
      [5, "GORKHEAVY_SLOTS"],
      [4, "/secret/slots"],
      [3, "/engine.yaml"],
    ]);
    expect((await resolved({})).config.slots).toBe(2);
  });

  test("every setting of the contract is in the table and in the help, and the other way round", () => {
    const help: string[] = [];
    engineCommand()
      .configureOutput({ writeOut: (text) => void help.push(text) })
      .outputHelp();
    for (const setting of SETTINGS) {
      if (setting.flag !== "") expect(help.join("")).toContain(`${setting.flag.split(" ")[0]} `);
      expect(help.join("")).toContain(variableOf(setting));
    }
    const whole = new Set(SETTINGS.filter(({ kind }) => kind === "section").map(({ path }) => path));
    const leaves = (tree: object, above = ""): string[] =>
      Object.entries(tree).flatMap(([key, value]) =>
        typeof value === "object" && value !== null && !Array.isArray(value) && !whole.has(`${above}${key}`)
          ? leaves(value as object, `${above}${key}.`)
          : [`${above}${key}`],
      );
    const full = { threads: 1, upstream: "x", adminToken: "x", upstreamKey: "x", residency: { memoryBytes: 1 } };
    expect(leaves(EngineConfigSchema.parse(full)).toSorted()).toEqual(SETTINGS.map(({ path }) => path).toSorted());
    const options = SETTINGS.map(optionOf).filter((option) => option !== undefined);
    expect(new Set(options).size).toBe(options.length);
    expect(options).toHaveLength(SETTINGS.filter(({ flag }) => flag !== "").length);
  });

  test("models come as names with files, from all of them", async () => {
    const want = [
      { name: "llama3.2:1b", load: "start" },
      { name: "library/x:y", file: "/a=b.gguf", load: "start" },
    ];
    const file = "models: [llama3.2:1b, { name: 'library/x:y', file: /a=b.gguf }]";
    expect((await resolved({ file })).config.models).toEqual(want);
    const env = { GORKHEAVY_MODELS: "llama3.2:1b, library/x:y=/a=b.gguf" };
    expect((await resolved({ env })).config.models).toEqual(want);
    const flags = { model: ["llama3.2:1b", "library/x:y=/a=b.gguf"] };
    expect((await resolved({ flags, file: "models: [other:1]" })).config.models).toEqual(want);
    // A flag's file may have blanks in its name.
    expect((await resolved({ flags: { model: ["a:1=/my models/a, b.gguf"] } })).config.models).toEqual([
      { name: "a:1", file: "/my models/a, b.gguf", load: "start" },
    ]);
  });

  test.each([
    ["5m", 300],
    ["-1", -1],
    ["0", 0],
    ["90", 90],
  ])("--keep-alive %s is %s s", async (text, seconds) => {
    expect((await resolved({ flags: { keepAlive: text } })).config.residency.keepAliveSeconds).toBe(seconds);
  });

  test("a section comes whole, as JSON in the environment", async () => {
    const { config } = await resolved({
      file: "stream: { runs: 3 }\nstorage: { registry: mirror.example }",
      env: { GORKHEAVY_STREAM: '{"origins":["https://console.example/page"]}' },
    });
    expect(config.stream).toMatchObject({ origins: ["https://console.example"], runs: 16 });
    expect(config.storage.registry).toBe("mirror.example");
    expect(config.features.webSocket).toBe(true);
  });

  test("a variable's file holds the value; what Kubernetes sets for a Service of that name is passed over", async () => {
    await writeFile(join(folder, "token"), "open sesame\n");
    const { config, warnings } = await resolved({
      env: { GORKHEAVY_ADMIN_TOKEN_FILE: join(folder, "token"), GORKHEAVY_PORT: "tcp://10.43.0.9:5000" },
    });
    expect([config.adminToken, config.port]).toEqual(["open sesame", 5000]);
    expect(warnings).toEqual([expect.stringContaining("GORKHEAVY_PORT: passed over")]);
  });
});

const UNKNOWN_ENV = { GORKHEAVY_FEATURES_PREDICTIVE_PRELOAD: "maybe" };

describe("what is wrong is named with its source, what it got and what is allowed", () => {
  test.each<[string, Given, RegExp]>([
    [
      "a number",
      { env: { GORKHEAVY_PORT: "70000" } },
      /^port \(GORKHEAVY_PORT\): got 70000, want a whole number from 0/,
    ],
    ["no number", { flags: { slots: "many" } }, /^slots \(--slots\): got "many", want a whole number from 1 to 64$/],
    [
      "a type",
      { file: "residency: { dwellMs: [1] }" },
      /^residency\.dwellMs \(.*engine\.yaml\): got \[1\], want a whole/,
    ],
    ["a section", { file: "residency: 5" }, /^residency \(.*engine\.yaml\): got 5, want/],
    ["a switch", { env: UNKNOWN_ENV }, /got "maybe", want true or false$/],
    ["an unknown setting", { file: "slot: 2" }, /^slot \(.*engine\.yaml\): no such setting, want one of .*slots/],
    [
      "one in a section",
      { file: "residency: { dwell: 2 }" },
      /^residency\.dwell \(.*\): no such setting.*keepAliveSeconds/,
    ],
    [
      "a model's",
      { file: "models: [{ name: 'a:1', path: x }]" },
      /path \(.*\): no such setting, want one of name, file/,
    ],
    ["one of the store's", { file: "storage: { mirror: x }" }, /^storage\.mirror \(.*\): no such setting.*registry/],
    ["no JSON", { env: { GORKHEAVY_STREAM: "{runs" } }, /^stream \(GORKHEAVY_STREAM\): got "\{runs", want/],
    ["a page's address", { file: "stream: { origins: [here] }" }, /^stream\.origins\[0\] \(.*\): got "here", want/],
    ["a model's name", { flags: { model: ["../../passwd"] } }, /^models\[0\]\.name \(--model\): got.*want family:tag/],
    [
      "a model without its file",
      { flags: { model: ["a:1="] } },
      /^models\[0\]\.file \(--model\): got "", want the path/,
    ],
    ["a model given twice", { flags: { model: ["a:1", "a:1=f.gguf"] } }, /^models \(--model\): .*want each name once$/],
    ["a name", { env: { GORKHEAVY_LOG_LEVEL: "loud" } }, /^logLevel \(GORKHEAVY_LOG_LEVEL\): got "loud", want trace/],
    [
      "a time",
      { flags: { keepAlive: "soon" } },
      /^residency\.keepAliveSeconds \(--keep-alive\): got "soon", want seconds/,
    ],
    ["no YAML", { file: "a: [" }, /engine\.yaml: neither YAML nor JSON/],
    ["no settings", { file: "- a" }, /engine\.yaml: want settings by name/],
    ["a secret in the file", { file: "adminToken: sesame" }, /^adminToken \(.*\): a configuration file is no place/],
    ["an unknown secret", { secrets: { password: "x" } }, /secret\/password: no such setting/],
    ["a value twice", { env: { GORKHEAVY_SLOTS: "2", GORKHEAVY_SLOTS_FILE: "/x" } }, /^GORKHEAVY_SLOTS and .*want one/],
    ["a lost file", { env: { GORKHEAVY_ADMIN_TOKEN_FILE: "/nowhere" } }, /_FILE: \/nowhere cannot be read \(ENOENT\)$/],
  ])("%s", async (_, given, message) => {
    await expect(resolved(given)).rejects.toThrow(message);
  });

  test("all of them at once, and never a secret", async () => {
    const wrong = resolved({ secrets: { adminToken: "" }, env: { GORKHEAVY_SLOTS: "0", GORKHEAVY_PORT: "x" } });
    const message = await wrong.then(String, String);
    expect(message.split("\n")).toHaveLength(3);
    expect(message).toMatch(/adminToken \(.*\): got something that is not shown/);
  });
});

test("--print-config is a file that says the same, with sources and without secrets", async () => {
  const given = await resolved({
    file: "models: [a:1]\nresidency: { dwellMs: 7 }",
    env: { GORKHEAVY_ADMIN_TOKEN: "open sesame", GORKHEAVY_SLOTS: "5" },
  });
  const text = printConfig(given);
  expect(text).not.toContain("sesame");
  expect(text).toContain("slots: 5 # GORKHEAVY_SLOTS");
  expect(text).toContain("# adminToken: set (GORKHEAVY_ADMIN_TOKEN), not shown");
  const { adminToken, ...rest } = given.config;
  expect(adminToken).toBe("open sesame");
  expect(EngineConfigSchema.parse(parse(text))).toEqual(rest);
});
