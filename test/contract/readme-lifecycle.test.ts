import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { README, withLifecycle } from "../support/readme-lifecycle.ts";

test("the README's lifecycle is the one of the transition table", async () => {
  const readme = await readFile(README, "utf8");
  expect(readme).toBe(withLifecycle(readme));
});

test("a diagram with an edge of its own is seen, and so are lost marks", async () => {
  const readme = await readFile(README, "utf8");
  const drawn = readme.replace("    Ready --> Serving", "    Ready --> Cleanup");
  expect(drawn).not.toBe(readme);
  expect(drawn).not.toBe(withLifecycle(drawn));
  expect(() => withLifecycle("# Nothing here")).toThrow("want the lines");
});
