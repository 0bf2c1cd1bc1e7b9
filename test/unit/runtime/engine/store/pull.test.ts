import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ggufOf, wholeGguf } from "../../../../support/gguf-bytes.ts";
import { type Registry, sha256, startRegistry } from "../../../../support/registry.ts";
import { pull, type StoreBench, startStoreBench } from "../../../../support/store.ts";

const never = new AbortController().signal;
const MIB = 1_048_576;

let bench: StoreBench;
let registry: Registry;
let store: StoreBench["store"];
let files: StoreBench["files"];
let folder: string;
beforeEach(async () => {
  bench = await startStoreBench();
  ({ registry, folder } = bench);
  store = (...given) => bench.store(...given);
  files = () => bench.files();
});
afterEach(() => bench.close());

describe("a pull from a registry", () => {
  test("brings the model, tells its bytes as Ollama does, and knows it from then on", async () => {
    const weights = ggufOf(300_000);
    registry.model("library/tiny", "1b", [
      { content: weights },
      { content: Buffer.from("Be brief."), mediaType: "application/vnd.ollama.image.system" },
      { content: Buffer.from('{"temperature":0.5,"stop":["<e>"]}'), mediaType: "application/vnd.ollama.image.params" },
    ]);
    const one = await store();
    const steps = await pull(one, "tiny:1b");
    const digest = `sha256:${sha256(weights)}`;
    expect(steps[0]).toEqual({ status: "pulling manifest" });
    expect(steps).toContainEqual({
      status: `pulling ${sha256(weights).slice(0, 12)}`,
      digest,
      totalBytes: weights.length,
      completedBytes: weights.length,
    });
    expect(steps.slice(-2).map(({ status }) => status)).toEqual(["verifying sha256 digest", "writing manifest"]);
    const [entry] = await one.list();
    expect(entry).toMatchObject({
      name: "tiny:1b",
      facts: {
        digest: sha256(weights),
        sizeBytes: weights.length,
        format: "gguf",
        family: "llama",
        settings: { system: "Be brief.", parameters: { temperature: 0.5, stop: ["<e>"] } },
      },
    });
    const held = await one.weights("TINY:1B", never);
    expect(sha256(await readFile(held.path))).toBe(sha256(weights));
    held.release();
    expect(await one.facts(`tiny:1b@sha256:${sha256(weights)}`)).toMatchObject({ digest: sha256(weights) });
    expect(await one.facts(`tiny:1b@sha256:${"0".repeat(64)}`)).toBeUndefined();
  });

  test("is one download for a hundred who ask, and one that leaves does not stop it", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(2 * MIB) }]);
    registry.faults.pauseMs = 2;
    const one = await store();
    const leave = new AbortController();
    const first = pull(one, "tiny:1b", { signal: leave.signal });
    const others = Array.from({ length: 99 }, () => pull(one, "tiny:1b"));
    setTimeout(() => leave.abort(), 20);
    await expect(first).rejects.toMatchObject({ code: "cancelled" });
    await Promise.all(others);
    expect(registry.served()).toBe(ggufOf(2 * MIB).length);
    expect(registry.seen.filter(({ path }) => path.includes("/manifests/"))).toHaveLength(1);
  });

  test("stops when its last asker leaves, and goes on from there", async () => {
    const weights = ggufOf(4 * MIB);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.faults.pauseMs = 5;
    const one = await store();
    const leave = new AbortController();
    const asked = pull(one, "tiny:1b", { signal: leave.signal });
    await expect.poll(() => registry.served()).toBeGreaterThan(MIB);
    leave.abort();
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
    registry.faults.pauseMs = undefined;
    await pull(one, "tiny:1b");
    expect(registry.served()).toBeLessThanOrEqual(weights.length + 65_536);
    expect((await one.list()).map(({ name }) => name)).toEqual(["tiny:1b"]);
  });

  test("of two stores on one folder at the same time is one download", async () => {
    const weights = ggufOf(2 * MIB);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.model("library/same", "1b", [{ content: weights }]);
    registry.faults.pauseMs = 2;
    const [one, other] = [await store(), await store()];
    await Promise.all([pull(one, "tiny:1b"), pull(other, "tiny:1b"), pull(other, "same:1b")]);
    expect(registry.served()).toBe(weights.length);
    expect((await one.list()).map(({ name }) => name)).toEqual(["same:1b", "tiny:1b"]);
    expect((await files()).filter((name) => /lock|partial|tmp/.test(name))).toEqual([]);
  });

  test("that finds the bytes here fetches none", async () => {
    const weights = ggufOf(300_000);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    const one = await store();
    await pull(one, "tiny:1b");
    await pull(one, "tiny:1b");
    expect(registry.served()).toBe(weights.length);
  });

  test("of a tag that moved takes the new bytes and lets the old ones go", async () => {
    const [old, fresh] = [ggufOf(300_000, 1), ggufOf(300_000, 2)];
    registry.model("library/tiny", "1b", [{ content: old }]);
    const one = await store();
    await pull(one, "tiny:1b");
    registry.model("library/tiny", "1b", [{ content: fresh }]);
    await pull(one, "tiny:1b");
    expect(await one.facts("tiny:1b")).toMatchObject({ digest: sha256(fresh) });
    expect(await one.hasBlob(`sha256:${sha256(old)}`)).toBe(false);
  });

  test("asks for a token where one is wanted, and gives a password to nobody but the registry", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000) }]);
    registry.guard("bearer-secret", "me:pass-secret");
    const elsewhere = await startRegistry();
    elsewhere.model("library/tiny", "1b", [{ content: ggufOf(300_000) }]);
    registry.faults.redirectTo = elsewhere.url;
    const hosts = { [registry.host]: { url: registry.url, tokenEnv: "TOKEN", username: "me" } };
    const without = await store();
    await expect(pull(without, "tiny:1b")).rejects.toMatchObject({ code: "pull_failed" });
    const wrong = await store({ hosts }, { env: { TOKEN: "wrong-secret" } });
    const refused = await pull(wrong, "tiny:1b").catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ code: "pull_failed" });
    expect(String((refused as Error).message)).not.toContain("secret");
    const one = await store({ hosts }, { env: { TOKEN: "pass-secret" } });
    await pull(one, "tiny:1b");
    expect(registry.seen.some(({ authorization }) => authorization === "Bearer bearer-secret")).toBe(true);
    expect(elsewhere.seen.length).toBeGreaterThan(0);
    expect(elsewhere.seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
    await elsewhere.close();
  });

  test("waits out a server that is not well, a cut line and a silent one, and fetches nothing twice", async () => {
    const weights = ggufOf(300_000);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.faults.status = (_, times) => (times === 1 ? 503 : undefined);
    registry.faults.cutAfter = (times) => (times === 3 ? 30_000 : undefined);
    registry.faults.stallAfter = (times) => (times === 5 ? 20_000 : undefined);
    await pull(await store(), "tiny:1b");
    expect(registry.served()).toBe(weights.length);
  });

  test("gives up in words, keeps what it has, and goes on when asked again", async () => {
    const weights = ggufOf(300_000);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.faults.status = (_, times) => (times > 2 ? 500 : undefined);
    const one = await store();
    await expect(pull(one, "tiny:1b")).rejects.toMatchObject({
      code: "pull_failed",
      message: expect.stringMatching(/gave up at 131072 of \d+ bytes .* HTTP 500; what came is kept/) as string,
    });
    expect(await one.list()).toEqual([]);
    registry.faults.status = undefined;
    await pull(one, "tiny:1b");
    expect(registry.served()).toBe(weights.length);
  });

  test("takes the whole from a server that knows no ranges", async () => {
    registry.model("library/tiny", "1b", [{ content: ggufOf(300_000) }]);
    registry.faults.noRanges = true;
    registry.faults.cutAfter = (times) => (times === 1 ? 100_000 : undefined);
    const one = await store();
    await pull(one, "tiny:1b");
    expect(await one.list()).toHaveLength(1);
  });

  test("of a model that is not there is an unknown model", async () => {
    registry.model("library/tiny", "1b", [{ content: wholeGguf() }]);
    await expect(pull(await store(), "tiny:2b")).rejects.toMatchObject({ code: "unknown_model" });
    expect((await files()).filter((name) => /lock|partial|tmp/.test(name))).toEqual([]);
  });

  test("takes a profile's tag of the family", async () => {
    registry.model("library/tiny", "1b-it-q8_0", [{ content: wholeGguf() }]);
    const one = await store({ profiles: { small: { quantizations: ["Q4_0", "Q8_0"] } } });
    await pull(one, "tiny:1b", { profile: "small" });
    expect((await one.list()).map(({ name }) => name)).toEqual(["tiny:1b"]);
    await expect(pull(one, "tiny:1b", { profile: "F16" })).rejects.toMatchObject({ code: "unknown_model" });
    await expect(pull(one, "tiny:1b", { profile: "none" })).rejects.toMatchObject({ code: "invalid_request" });
  });
});

describe("other places", () => {
  test("any OCI registry, by its layers' file names", async () => {
    const weights = wholeGguf();
    registry.model("org/team/models", "v1", [
      { content: Buffer.from("# read me"), mediaType: "text/markdown", title: "README.md" },
      { content: weights, mediaType: "application/octet-stream", title: "tiny.gguf" },
    ]);
    const one = await store();
    await pull(one, "mine:1", { source: `oci:${registry.host}/org/team/models:v1` });
    expect(await one.facts("mine:1")).toMatchObject({ digest: sha256(weights) });
  });

  test("a hub: the file that is named, the quantization, or the usual one", async () => {
    const [small, large] = [ggufOf(1_000, 1), ggufOf(2_000, 2)];
    registry.hub("org/Tiny-GGUF", {
      "Tiny-Q4_K_M.gguf": small,
      "sub/Tiny-Q8_0.gguf": large,
      "README.md": Buffer.from("x"),
    });
    const one = await store({ hub: { url: registry.url, tokenEnv: "HF_TOKEN" } }, { env: { HF_TOKEN: "hub-secret" } });
    await pull(one, "hf.co/org/Tiny-GGUF:Q8_0");
    await pull(one, "hf.co/org/Tiny-GGUF");
    await pull(one, "named:1", { source: "hf.co/org/Tiny-GGUF:sub/Tiny-Q8_0.gguf" });
    expect((await one.list()).map(({ name, facts }) => [name, facts.digest])).toEqual([
      ["hf.co/org/Tiny-GGUF:Q8_0", sha256(large)],
      ["hf.co/org/Tiny-GGUF:latest", sha256(small)],
      ["named:1", sha256(large)],
    ]);
    expect(registry.seen.every(({ authorization }) => authorization === "Bearer hub-secret")).toBe(true);
    await expect(pull(one, "hf.co/org/Tiny-GGUF:F16")).rejects.toMatchObject({
      code: "unknown_model",
      message: expect.stringContaining("Tiny-Q4_K_M.gguf") as string,
    });
  });

  test("a file by HTTP, with its digest or where the setting asks for none", async () => {
    const weights = wholeGguf();
    registry.file("/files/tiny.gguf", weights);
    const source = `${registry.url}/files/tiny.gguf?signature=url-secret`;
    const strict = await store();
    const refused = await pull(strict, "web:1", { source }).catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ code: "invalid_request", message: expect.stringContaining("webDigest") as string });
    expect((refused as Error).message).not.toContain("url-secret");
    await pull(strict, "web:1", { source, digest: sha256(weights) });
    const open = await store({ webDigest: "optional" });
    await pull(open, "web:2", { source });
    expect((await open.list()).map(({ facts }) => facts.digest)).toEqual([sha256(weights), sha256(weights)]);
  });

  test("a file of this machine, which stays as it is", async () => {
    const path = join(folder, "local.gguf");
    await writeFile(path, wholeGguf());
    const one = await store();
    await pull(one, "local:1", { source: `file:${path}` });
    expect(await one.facts("local:1")).toMatchObject({ digest: sha256(wholeGguf()) });
    expect((await stat(path)).size).toBe(wholeGguf().length);
  });
});
