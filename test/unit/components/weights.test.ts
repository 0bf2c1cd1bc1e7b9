import { describe, expect, test } from "vitest";
import { OLLAMA_IMAGE, ollamaImageProblem } from "../../../components/image.ts";
import { probesOf } from "../../../components/models/probes.ts";
import {
  destinationsOf,
  DigestSchema,
  memoryProblem,
  renderPullArguments,
  SourceSchema,
} from "../../../components/models/weights.ts";
import { PROFILES } from "../../../runtime/contracts/index.ts";

const DIGEST = "c4".repeat(32);

test.each([
  [{ model: "a:1" }, ["a:1"]],
  [{ model: "a:1", digest: DIGEST }, [`a:1@sha256:${DIGEST}`]],
  [{ model: "a:1", source: "hf.co/o/r", quantization: "Q8_0" }, ["a:1=hf.co/o/r", "--profile", "Q8_0"]],
  [{ model: "a:1", source: "http://h/a.gguf", digest: DIGEST }, [`a:1=http://h/a.gguf@sha256:${DIGEST}`]],
])("tells a pull of %j", (weights, texts) => {
  expect(renderPullArguments(weights)).toEqual(texts);
});

describe("a digest", () => {
  test("is 64 hexadecimal digits, with or without the name of the sum", () => {
    expect([DigestSchema.parse(DIGEST), DigestSchema.parse(`sha256:${DIGEST}`)]).toEqual([DIGEST, DIGEST]);
  });
  test.each([
    "",
    DIGEST.slice(1),
    `${DIGEST}0`,
    DIGEST.toUpperCase(),
    `../${DIGEST.slice(3)}`,
    `md5:${DIGEST}`,
  ])("is not %j", (text) => {
    expect(() => DigestSchema.parse(text)).toThrow(/64 lower-case hexadecimal digits/);
  });
});

describe("a source", () => {
  test.each([
    "http://192.168.1.1:8480/models/a.gguf",
    "https://example.org/a.gguf?download=true",
    "hf.co/org/repository:Q4_K_M",
    "hf.co/org/repository@main:folder/model-Q8_0.gguf",
    "oci:registry.example:5000/team/model:1b",
    "registry.example:5000/team/model:1b",
    "org/name@0123456789abcdef0123456789abcdef01234567",
  ])("may be %s", (text) => {
    expect(SourceSchema.parse(text)).toBe(text);
  });
  test.each([
    "",
    "a b",
    "https://user:password@example.org/a",
    "--store=/etc",
    "a;b",
    "../a",
    "ftp://a/b",
    "a@sha256:b",
  ])("is not %j", (text) => {
    expect(SourceSchema.safeParse(text).success).toBe(false);
  });
});

test.each([
  [[], []],
  [[undefined, "hf.co/a/b", "https://example.org/a.gguf"], [{ port: 443 }]],
  [
    ["http://192.168.1.1:8480/a", "http://192.168.1.1:8480/b", "http://example.org/c"],
    [{ address: "192.168.1.1", port: 8480 }, { port: 80 }],
  ],
  [["https://10.0.0.9/a"], [{ address: "10.0.0.9", port: 443 }]],
])("finds where the downloads of %j go", (sources, destinations) => {
  expect(destinationsOf(sources)).toEqual(destinations);
});

test("says how much memory is missing for weights and server, and that what fits does", () => {
  const limits = { cpuMillicores: 900, memoryMib: 2048 };
  expect(memoryProblem(1792 * 1_048_576, limits)).toBeUndefined();
  expect(memoryProblem(1792 * 1_048_576 + 1, limits)).toMatch(
    /weights have 1793Mi .* needs 256Mi .* limit is 2048Mi: .*OOMKilled.*raise limits.memoryMib to 2049 at least/,
  );
});

describe("an image of Ollama", () => {
  test.each([
    OLLAMA_IMAGE,
    "ollama/ollama:0.17.1",
    "ollama/ollama:v0.17.2",
    "ollama/ollama:0.18.0-rc2",
    "ollama/ollama:1.0.0",
    "ollama/ollama:0.17.1-rocm",
    `localhost:5000/ollama:0.20.0@sha256:${DIGEST}`,
  ])("may be %s", (image) => {
    expect(ollamaImageProblem(image)).toBeUndefined();
  });
  test.each([
    ["ollama/ollama:0.17.0", /release 0\.17\.0 is too old; want a tag of 0\.17\.1 or newer.*CVE-2026-7482/],
    ["ollama/ollama:0.9.30", /too old/],
    ["ollama/ollama:0.17.1-rc1", /release 0\.17\.1-rc1 is too old/],
    ["ollama/ollama:latest", /does not say its release.*CVE-2026-7482/],
    ["ollama/ollama", /does not say its release/],
    ["localhost:5000/ollama", /does not say its release/],
    ["ollama/ollama:0.17", /does not say its release/],
    [`ollama/ollama@sha256:${DIGEST}`, /does not say its release/],
  ])("is not %s", (image, message) => {
    expect(ollamaImageProblem(image)).toMatch(message);
  });
});

test("lets a probe differ in one figure, and makes one where the profile has none", () => {
  const { liveness, readiness, startup } = probesOf(PROFILES.default, { readiness: { periodSeconds: 30 } });
  expect([liveness.path, readiness.path, startup?.path]).toEqual(["/health", "/models/health", "/api/health"]);
  expect(readiness).toEqual({ ...PROFILES.default.readiness, periodSeconds: 30 });
  expect(probesOf(PROFILES.seed).startup).toBeUndefined();
  expect(probesOf(PROFILES.seed, { startup: { failureThreshold: 99 } }).startup).toEqual({
    ...PROFILES.seed.liveness,
    failureThreshold: 99,
  });
});
