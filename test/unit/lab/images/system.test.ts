import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { describe, expect, it } from "vitest";
import { SYSTEM_IMAGES } from "../../../../infra/lab/images/system.ts";

const k3s = join(import.meta.dirname, "../../../../infra/lab/tools/k3s");
const packaged = join(k3s, "internal/deploy/packaged");

async function manifests(): Promise<string[]> {
  return Promise.all((await readdir(packaged)).map((name) => readFile(join(packaged, name), "utf8")));
}

describe("system images", () => {
  it("are those that the packaged manifests and the kubelet's sandboxes name, and no others", async () => {
    const named = (await manifests()).flatMap((text) => [...text.matchAll(/image: (\S+)/g)].map((match) => match[1]));
    const pause = /DefaultPauseImage = "([^"]+)"/.exec(
      await readFile(join(k3s, "internal/settings/parse.go"), "utf8"),
    )?.[1];
    expect([...named, pause].sort()).toEqual(SYSTEM_IMAGES.map(({ tag }) => tag).sort());
  });

  it("carry the versions that the module pins", async () => {
    const pinned = await readFile(join(k3s, "system/go.mod"), "utf8");
    for (const { tag, source } of SYSTEM_IMAGES.filter(({ source }) => !source.startsWith("./"))) {
      const version = tag.slice(tag.indexOf(":") + 1);
      const module = source.replace(/\/cmd\/.*$/, "");
      expect(pinned).toMatch(new RegExp(`${module} v${version.replaceAll(".", "\\.")}\\b`));
    }
    expect(pinned).toMatch(/github\.com\/coredns\/coredns v1\.13\.1\b/);
  });

  it("have the volume helper under the names that the provisioner is told to call", async () => {
    const volume = SYSTEM_IMAGES.find(({ program }) => program === "volume");
    const storage = (await manifests()).find((text) => text.includes("setupCommand")) ?? "";
    const called = [...storage.matchAll(/"(?:setup|teardown)Command": "\/([^"]+)"/g)].map((match) => match[1]);
    expect(called).toEqual(volume?.installedAs);
  });

  it("are never fetched: every container says IfNotPresent", async () => {
    const documents = (await manifests()).flatMap((text) =>
      parseAllDocuments(text.replaceAll("%{", "").replaceAll("}%", "")),
    );
    expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
    for (const text of await manifests())
      expect([...text.matchAll(/imagePullPolicy: IfNotPresent/g)]).toHaveLength([...text.matchAll(/image: /g)].length);
  });
});
