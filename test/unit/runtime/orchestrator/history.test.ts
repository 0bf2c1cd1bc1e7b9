import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKey } from "../../../../runtime/orchestrator/access/command.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";

let ensemble: MockEnsemble;
beforeAll(async () => {
  ensemble = await startMockEnsemble();
});
afterAll(() => ensemble.close());

/** Runs `gorkheavy history …` as people do. */
async function history(...args: string[]): Promise<{ stdout: string; stderr: string; exitCode?: number | undefined }> {
  return execa(process.execPath, ["runtime/main.ts", "history", ...args, "--url", ensemble.url], { reject: false });
}

test("conversations are listed, shown, exported and deleted from the command line", { timeout: 120_000 }, async () => {
  await fetch(`${ensemble.url}/ask`, {
    method: "POST",
    body: JSON.stringify({ user: "ann", conversation: "trip", question: "Where to?" }),
  });
  expect((await history("list", "--user", "ann")).stdout).toMatch(/ {2}trip {2}1 turns {2}Where to\?$/);
  const list: unknown = JSON.parse((await history("list", "--user", "ann", "--json")).stdout);
  expect(list).toMatchObject({ conversations: [{ id: "trip", turns: 1 }] });
  expect((await history("show", "trip", "--user", "ann")).stdout).toBe(
    "YOU: Where to?\nReply: An answer by llama here.",
  );
  expect(JSON.parse((await history("export", "trip", "--user", "ann")).stdout)).toMatchObject({
    question: "Where to?",
  });
  expect((await history("delete", "--user", "ann")).stderr).toMatch(/give the id of a conversation, or --all/);
  expect((await history("delete", "trip", "--user", "ann")).stdout).toBe("1 deleted");
  const gone = await history("show", "trip", "--user", "ann");
  expect([gone.exitCode, gone.stderr]).toEqual([
    1,
    expect.stringContaining("conversation trip: there is none of that id"),
  ]);
});

test("each command shows the key of a file or the environment where one is wanted", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "gorkheavy-history-"));
  const keysFile = join(folder, "keys.yaml");
  const key = await createKey(keysFile, { id: "ann" });
  const keyFile = join(folder, "key");
  await writeFile(keyFile, `${key}\n`);
  const guarded = await startMockEnsemble({}, { access: { anonymous: "nobody", keysFile } });
  const run = async (args: string[], env: Record<string, string> = {}) =>
    execa(process.execPath, ["runtime/main.ts", "history", ...args, "--url", guarded.url], { reject: false, env });
  try {
    await fetch(`${guarded.url}/ask`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ user: "ann", conversation: "trip", question: "Where to?" }),
    });
    const refused = await run(["list", "--user", "ann"], { GORKHEAVY_KEY: "" });
    expect([refused.exitCode, refused.stdout]).toEqual([1, ""]);
    expect((await run(["list", "--user", "ann"], { GORKHEAVY_KEY: key })).stdout).toContain("  trip  1 turns");
    for (const args of [["list"], ["show", "trip"], ["export", "trip"], ["delete", "trip"]]) {
      const { exitCode, stderr } = await run([...args, "--user", "ann", "--key-file", keyFile], { GORKHEAVY_KEY: "" });
      expect([args, exitCode, stderr]).toEqual([args, 0, ""]);
    }
    const wrong = await run(["list", "--user", "ann"], { GORKHEAVY_KEY: "gh_bob_not-a-real-secret" });
    expect(wrong.exitCode).toBe(1);
    expect(wrong.stderr).not.toContain("not-a-real-secret");
    const missing = await run(["list", "--key-file", join(folder, "none")]);
    expect(missing.stderr).toMatch(/--key-file .*none: cannot be read \(ENOENT\)/);
  } finally {
    await guarded.close();
    await rm(folder, { recursive: true, force: true });
  }
});
