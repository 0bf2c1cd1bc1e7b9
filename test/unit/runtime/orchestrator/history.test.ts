import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
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
