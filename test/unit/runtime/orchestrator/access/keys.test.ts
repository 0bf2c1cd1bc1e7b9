import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rename, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createKey, describeKey, keysCommand, revokeKey } from "../../../../../runtime/orchestrator/access/command.ts";
import {
  Keyring,
  KeysFileError,
  parseKeysFile,
  readKeysFile,
  refusalOf,
} from "../../../../../runtime/orchestrator/access/keyring.ts";
import { KeysWatch } from "../../../../../runtime/orchestrator/access/keys-watch.ts";
import { hashOfKey, idOfKey, makeKey, matches } from "../../../../../runtime/orchestrator/access/secret.ts";

const MAIN = new URL("../../../../../runtime/main.ts", import.meta.url).pathname;

let dir: string;
let file: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "gorkheavy-keys-"));
  file = join(dir, "keys.yaml");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("a key", () => {
  test("has its id and 256 random bits, and only its hash tells that it is right", () => {
    const key = makeKey("anns-laptop");
    expect(key).toMatch(/^gh_anns-laptop_[0-9A-Za-z]{43}$/);
    expect(idOfKey(key)).toBe("anns-laptop");
    expect(new Set(Array.from({ length: 1_000 }, () => makeKey("a"))).size).toBe(1_000);
    expect(matches(key, hashOfKey(key))).toBe(true);
    expect(matches(`${key.slice(0, -1)}${key.endsWith("a") ? "b" : "a"}`, hashOfKey(key))).toBe(false);
    expect(hashOfKey(key)).not.toContain(key);
  });

  test("is found among others, and nothing else is", () => {
    const keys = Array.from({ length: 20 }, (_, at) => makeKey(`k${at}`));
    const ring = new Keyring({
      keys: keys.map((key, at) => ({ id: `k${at}`, hash: hashOfKey(key), users: "any", admin: false })),
    });
    keys.forEach((key, at) => expect(ring.find(key)?.id).toBe(`k${at}`));
    expect(ring.find(makeKey("k3"))).toBeUndefined();
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(ring.find(text)).toBeUndefined();
      }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.nat(60), fc.string({ minLength: 1, maxLength: 3 }), (key, at, put) => {
        const bent = key.slice(0, at) + put + key.slice(at + put.length);
        expect(ring.find(bent)?.id).toBe(keys.includes(bent) ? idOfKey(bent) : undefined);
      }),
    );
  });

  test("ends by its expiry or when it is taken back", () => {
    const record = { id: "a", hash: hashOfKey("x"), users: "any" as const, admin: false };
    expect(refusalOf(record, 0)).toBeUndefined();
    const expires = "2027-01-01T00:00:00Z";
    expect(refusalOf({ ...record, expires }, Date.parse(expires) - 1)).toBeUndefined();
    expect(refusalOf({ ...record, expires }, Date.parse(expires))).toBe("the key a expired");
    expect(refusalOf({ ...record, revoked: expires }, Date.parse(expires))).toBe("the key a was revoked");
  });
});

describe("the command", () => {
  const run = promisify(execFile);
  const keys = (...args: string[]) => run(process.execPath, [MAIN, "keys", ...args, "--file", file]);
  const inProcess = async (...args: string[]) => {
    const command = keysCommand();
    for (const one of command.commands) one.exitOverride().configureOutput({ writeErr: () => undefined });
    await command.parseAsync([...args, "--file", file], { from: "user" });
  };

  test("prints a key once and keeps its hash alone, in a file that only its owner can read", async () => {
    const { stdout } = await keys(
      "create",
      "anns-laptop",
      "--user",
      "ann",
      "--requests-per-minute",
      "5",
      "--models",
      "gorkheavy:latest,llama",
    );
    const key = stdout.trim();
    const text = await readFile(file, "utf8");
    expect(text).not.toContain(key.slice(-43));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readKeysFile(file)).keys).toEqual([
      {
        id: "anns-laptop",
        hash: hashOfKey(key),
        user: "ann",
        models: ["gorkheavy:latest", "llama"],
        requestsPerMinute: 5,
        admin: false,
      },
    ]);
    const listed = (await keys("list")).stdout;
    expect(listed).toContain("anns-laptop\tvalid\tuser ann");
    expect(listed).not.toContain(hashOfKey(key).slice(7));
    await inProcess("revoke", "anns-laptop");
    expect((await readKeysFile(file)).keys[0]?.revoked).toBeDefined();
    await expect(inProcess("create", "anns-laptop")).rejects.toThrow(/has a key anns-laptop already/);
    expect(await readdir(dir)).toEqual(["keys.yaml"]);
  });

  test.each([
    [["create", "Ann"], /want 1 to 40 of a-z/],
    [["create", "a", "--requests-per-minute", "0"], /whole number from 1/],
    [["create", "a", "--expires", "tomorrow"], /want days such as 90d/],
    [["create", "a", "--user", "a b"], /want 1 to 128 of/],
    [["revoke", "nobody"], /cannot be read \(ENOENT\)/],
  ])("says what is wrong with %j and writes nothing", async (args, message) => {
    await expect(inProcess(...args)).rejects.toThrow(message);
    expect(await readdir(dir)).toEqual([]);
  });

  test("leaves the file alone that it cannot write", async () => {
    await expect(createKey(join(dir, "missing", "keys.yaml"), { id: "a" })).rejects.toThrow(
      /cannot be written \(ENOENT\)/,
    );
    await writeFile(file, "keys: 5\n");
    await expect(createKey(file, { id: "a" })).rejects.toThrow(KeysFileError);
    expect(await readFile(file, "utf8")).toBe("keys: 5\n");
  });

  test("lists what a key may", () => {
    const record = {
      id: "a",
      hash: hashOfKey("x"),
      users: "any" as const,
      admin: true,
      expires: "2020-01-01T00:00:00Z",
    };
    expect(describeKey(record)).toBe(
      "a\texpired\tany user\tall models\tany number of requests\tany number of tokens\texpires 2020-01-01T00:00:00Z\tadmin",
    );
  });
});

describe("a keys file", () => {
  const hash = hashOfKey("x");
  test.each([
    ["", /expected object/],
    ["keys: {", /neither YAML nor JSON/],
    ["keys: [{}]", /keys\[0\]\.id/],
    [`keys: [{id: a, hash: "${hash}"}]`, /want either user: NAME or users: any/],
    [`keys: [{id: a, hash: "${hash}", user: ann, users: any}]`, /want either user: NAME or users: any/],
    [`keys: [{id: a, hash: "sha256:00", users: any}]`, /want sha256: and 64 hex digits/],
    [`keys: [{id: a, hash: "${hash}", users: any}, {id: a, hash: "${hash}", users: any}]`, /a is there twice/],
    [`keys: [{id: a, hash: "${hash}", users: any, expires: soon}]`, /want a moment/],
    [`keys: [{id: a, hash: "${hash}", users: any, tokensPerDay: 0}]`, /tokensPerDay/],
    [`keys: [{id: a, hash: "${hash}", users: any, tokenPerDay: 5}]`, /tokenPerDay/],
  ])("that says %j is refused by its field", (text, message) => {
    expect(() => parseKeysFile(text, "keys.yaml")).toThrow(message);
  });

  test("that holds a key itself by mistake does not show it in the message", () => {
    const key = makeKey("a");
    for (const text of [
      `keys: [{id: a, key: ${key}, users: any}]`,
      `keys: [{id: a, hash: ${key}, users: any}]`,
      `${key}: [`,
      `{${key}`,
    ])
      expect(() => parseKeysFile(text, "keys.yaml")).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining(key.slice(-43)) as string }),
      );
  });

  test("never ends the process whatever is in it", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parseKeysFile(text, "keys.yaml");
        } catch (error) {
          expect(error).toBeInstanceOf(KeysFileError);
        }
      }),
    );
  });
});

describe("a running service's keys", () => {
  function watch() {
    const said: { level: string; text: string }[] = [];
    const log = {
      info: (_: unknown, text: string) => said.push({ level: "info", text }),
      error: (fields: object, text: string) => said.push({ level: "error", text: `${text} ${JSON.stringify(fields)}` }),
    };
    const keyring = new Keyring();
    return { said, keyring, watch: new KeysWatch(file, keyring, log as never) };
  }

  test("follow their file; a broken one changes nothing and is complained of once", async () => {
    const key = await createKey(file, { id: "a" });
    const { said, keyring, watch: w } = watch();
    await w.start(3_600_000);
    expect(keyring.find(key)?.id).toBe("a");

    const other = await createKey(file, { id: "b" });
    await w.look();
    expect(keyring.find(other)?.id).toBe("b");

    await writeFile(file, "keys: nonsense");
    await w.look();
    await w.look();
    expect(keyring.find(key)?.id).toBe("a");
    expect(w.broken).toBe(true);
    expect(said.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(said.at(-1)?.text).toMatch(/KEYS NOT CHANGED.*keys\.yaml/);

    await unlink(file);
    await w.look();
    expect(keyring.find(key)?.id).toBe("a");
    expect(said.filter(({ level }) => level === "error")).toHaveLength(2);

    await createKey(file, { id: "c" });
    await w.look();
    expect(w.broken).toBe(false);
    expect(keyring.find(key)).toBeUndefined();
    w.close();
  });

  test("follow a Secret, whose file is a link that changes", async () => {
    const [one, two] = [join(dir, "one.yaml"), join(dir, "two.yaml")];
    const key = await createKey(one, { id: "a" });
    await createKey(two, { id: "a" });
    await revokeKey(two, "a");
    await symlink(one, file);
    const { keyring, watch: w } = watch();
    await w.start(3_600_000);
    expect(keyring.find(key)).toBeDefined();
    await symlink(two, join(dir, "next"));
    await rename(join(dir, "next"), file);
    await w.look();
    expect(keyring.find(key)).toBeUndefined();
    w.close();
  });

  test("must be there at the start", async () => {
    await expect(watch().watch.start()).rejects.toThrow(
      /cannot be read \(ENOENT\); make one with: gorkheavy keys create/,
    );
  });
});
