import { cp, mkdir, mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runtimeImageName } from "../../../../infra/lab/images/runtime.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "runtime-image-"));
  await mkdir(join(root, "runtime/core"), { recursive: true });
  await writeFile(join(root, "runtime/main.ts"), "main");
  await writeFile(join(root, "runtime/core/judge.ts"), "judge");
  await writeFile(join(root, "package-lock.json"), "{}");
  await writeFile(join(root, "package.json"), '{"version":"1.2.3"}');
});
afterEach(() => rm(root, { recursive: true }));

test("the image's name is the same for the same files, wherever and however old they are", async () => {
  const name = await runtimeImageName(root);
  expect(name).toMatch(/^ghcr\.io\/gorkheavy\/runtime:1\.2\.3-[0-9a-f]{12}$/);
  await utimes(join(root, "runtime/main.ts"), 1, 1);
  const copy = `${root}-copy`;
  await cp(root, copy, { recursive: true });
  try {
    expect(await runtimeImageName(copy)).toBe(name);
  } finally {
    await rm(copy, { recursive: true });
  }
});

test.each<[string, () => Promise<void>]>([
  ["a file's content", () => writeFile(join(root, "runtime/core/judge.ts"), "other")],
  ["a file's place", () => rename(join(root, "runtime/core/judge.ts"), join(root, "runtime/judge.ts"))],
  ["a further file", () => writeFile(join(root, "runtime/core/more.ts"), "")],
  ["where one file ends and the next begins", () => writeFile(join(root, "runtime/main.ts"), "mainruntime")],
  ["the locked packages", () => writeFile(join(root, "package-lock.json"), '{"packages":{}}')],
  ["the version", () => writeFile(join(root, "package.json"), '{"version":"1.2.4"}')],
])("%s changes it", async (_, change) => {
  const before = await runtimeImageName(root);
  await change();
  expect(await runtimeImageName(root)).not.toBe(before);
});
