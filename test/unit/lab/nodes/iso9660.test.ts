import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { parseIso, readIso } from "../../../../infra/lab/nodes/iso9660.ts";
import { renderIso } from "../../../../infra/proxmox/seed/iso9660.ts";

/** Seeds made by xorriso 1.5.4 and genisoimage 1.1.11 (Debian 12) from one directory, which has a subdirectory `sub` too. */
async function fixture(name: string): Promise<Buffer> {
  return gunzipSync(await readFile(join(import.meta.dirname, "../../../fixtures/iso", `${name}.iso.gz`)));
}

const CONTENT = {
  "user-data": "#cloud-config\nhostname: k3s-master\n",
  "meta-data": "instance-id: a\n",
  "network-config": "version: 2\n",
  "a-file-with-a-name-too-long-for-iso-9660-itself.yaml": "x",
  large: "z".repeat(5000),
};

function textOf(files: Map<string, Buffer>): Record<string, string> {
  return Object.fromEntries([...files].map(([name, data]) => [name, data.toString("utf8")]));
}

test.each([
  "xorriso-joliet-rockridge",
  "genisoimage-rockridge",
  "genisoimage-joliet",
])("reads the seed of %s", async (name) => {
  const { label, files } = parseIso(await fixture(name));
  expect(label.toLowerCase()).toBe("cidata");
  expect(textOf(files)).toEqual(CONTENT);
});

test("follows a long name into its continuation area", async () => {
  const { files } = parseIso(await fixture("xorriso-long-name"));
  expect([...files.keys()].sort()).toEqual(["meta-data", "n".repeat(230), "user-data"]);
});

test("reads plain names in lower case when there are no better ones", async () => {
  const { files } = parseIso(await fixture("genisoimage-plain"));
  expect(files.get("large")?.toString("utf8")).toBe(CONTENT.large);
  expect([...files.keys()]).toContain("meta_dat");
});

test("reads what the seed image's own writer makes", () => {
  const seed = {
    "user-data": "#cloud-config\nname: Zoë\n",
    "meta-data": "instance-id: b\n",
    "network-config": "v".repeat(7000),
  };
  const { label, files } = parseIso(Buffer.from(renderIso("cidata", seed)));
  expect(label.toLowerCase()).toBe("cidata");
  expect(textOf(files)).toEqual(seed);
});

test("refuses an image that is cut off, at whatever point, or reads it right", async () => {
  const image = await fixture("xorriso-joliet-rockridge");
  const outcomes = [];
  for (let bytes = 0; bytes < image.length; bytes += 7777) {
    try {
      outcomes.push(textOf(parseIso(image.subarray(0, bytes)).files));
    } catch (error) {
      expect(String(error)).toMatch(/ISO 9660/);
    }
  }
  for (const outcome of outcomes) expect(outcome).toEqual(CONTENT);
  expect(outcomes.length).toBeLessThan(image.length / 7777);
});

test("refuses a file that no seed would have", async () => {
  const image = await fixture("genisoimage-rockridge");
  const record = image.indexOf("LARGE.;1");
  image.writeUInt32LE(2 ** 31, record - 33 + 10);
  expect(() => parseIso(image)).toThrow(/has 2147483648 bytes/);
});

test("says that a text file is no image, and names it", async () => {
  const dir = await mkdtemp(join(tmpdir(), "gk-iso-"));
  try {
    await writeFile(join(dir, "text.iso"), "hello");
    await expect(readIso(join(dir, "text.iso"))).rejects.toThrow(/text\.iso: not an ISO 9660 image/);
  } finally {
    await rm(dir, { recursive: true });
  }
});
