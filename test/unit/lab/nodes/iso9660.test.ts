import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, test } from "vitest";
import { parseIso, readIso } from "../../../../infra/lab/nodes/iso9660.ts";

const dir = await mkdtemp(join(tmpdir(), "gk-iso-"));
afterAll(() => rm(dir, { recursive: true }));

const seed = {
  "user-data": "#cloud-config\n",
  "meta-data": "instance-id: a\n",
  "network-config": "version: 2\n",
  "a-file-with-a-name-too-long-for-iso-9660-itself.yaml": "x",
};
await mkdir(join(dir, "seed/sub"), { recursive: true });
for (const [name, text] of Object.entries(seed)) await writeFile(join(dir, "seed", name), text);
await writeFile(join(dir, "seed/sub/inner"), "not in the root");
await writeFile(join(dir, "seed/large"), randomBytes(100_000));

const tools: string[] = [];
for (const tool of ["xorriso", "genisoimage", "mkisofs"]) {
  if (!(await execa(tool, ["--version"], { reject: false })).failed) tools.push(tool);
}

async function make(tool: string, options: string[]): Promise<Buffer> {
  const out = join(dir, `${tool}${options.join("")}.iso`);
  await execa(tool, [
    ...(tool === "xorriso" ? ["-as", "mkisofs"] : []),
    "-quiet",
    "-V",
    "cidata",
    ...options,
    "-o",
    out,
    join(dir, "seed"),
  ]);
  return readFile(out);
}

describe.skipIf(tools.length === 0)("images of real tools (skipped without xorriso and genisoimage)", () => {
  test.each(
    tools.flatMap((tool) => [["-J", "-r"], ["-r"], ["-J", "-joliet-long"]].map((options) => [tool, options] as const)),
  )("reads what %s %j has written", async (tool, options) => {
    const { label, files } = parseIso(await make(tool, options));
    expect(label.toLowerCase()).toBe("cidata");
    for (const [name, text] of Object.entries(seed)) expect(files.get(name)?.toString()).toBe(text);
    expect(files.get("large")?.equals(await readFile(join(dir, "seed/large")))).toBe(true);
    expect([...files.keys()].sort()).toEqual([...Object.keys(seed), "large"].sort());
  });

  test("falls back to plain names in lower case", async () => {
    const { files } = parseIso(await make(tools[0] ?? "", ["-iso-level", "3"]));
    expect([...files.keys()]).toContain("large");
  });

  test("refuses an image that is cut off, at whatever point, or reads it right", async () => {
    const image = await make(tools[0] ?? "", ["-J", "-r"]);
    const digests = ({ files }: { files: Map<string, Buffer> }) =>
      [...files].map(([name, data]) => `${name} ${createHash("sha256").update(data).digest("hex")}`);
    const whole = digests(parseIso(image));
    const outcomes = [];
    for (let bytes = 0; bytes < image.length; bytes += 7777) {
      try {
        outcomes.push(digests(parseIso(image.subarray(0, bytes))));
      } catch (error) {
        expect(String(error)).toMatch(/ISO 9660/);
      }
    }
    for (const outcome of outcomes) expect(outcome).toEqual(whole);
    expect(outcomes.length).toBeLessThan(image.length / 7777);
  });
});

test("says that a text file is no image, and names it", async () => {
  await writeFile(join(dir, "text.iso"), "hello");
  await expect(readIso(join(dir, "text.iso"))).rejects.toThrow(/text\.iso: not an ISO 9660 image/);
});
