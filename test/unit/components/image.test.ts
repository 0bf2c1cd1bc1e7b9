import { expect, test } from "vitest";
import { ImageRefSchema, OLLAMA_IMAGE } from "../../../components/image.ts";

const digest = `sha256:${"0".repeat(64)}`;

test.each([
  OLLAMA_IMAGE,
  "ghcr.io/gorkheavy/runtime:0.1.0",
  "localhost:5000/a/b:v1",
  `a/b@${digest}`,
  `a/b:latest@${digest}`,
])("accepts %s", (image) => {
  expect(ImageRefSchema.safeParse(image).success).toBe(true);
});

test.each([
  "ollama/ollama",
  "ollama/ollama:latest",
  "localhost:5000/ollama",
  "",
  "ghcr.io/X/y:1",
  "a b:1",
])("refuses '%s'", (image) => {
  expect(ImageRefSchema.safeParse(image).error?.issues[0]?.message).toMatch(/want/);
});
