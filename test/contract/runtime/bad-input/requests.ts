import { expect } from "vitest";
import { NativeError } from "../../../../runtime/contracts/native.ts";
import { OllamaError } from "../../../../runtime/contracts/ollama.ts";
import { OpenAiError } from "../../../../runtime/contracts/openai.ts";
import { jsonOf } from "../../../../runtime/support/json.ts";
import type { RawAnswer } from "../../../support/raw-http.ts";

/** The four ways to ask the ensemble, with a body that is right. */
export const ASKS = [
  { path: "/ask", api: "native", body: { question: "Why?" } },
  { path: "/api/chat", api: "ollama", body: chat({ stream: false }) },
  { path: "/api/generate", api: "ollama", body: { model: "gorkheavy:latest", prompt: "Why?", stream: false } },
  { path: "/v1/chat/completions", api: "openai", body: chat({}) },
] as const;
/** One way to ask. */
export type Ask = (typeof ASKS)[number];

function chat(more: object): Record<string, unknown> {
  return { model: "gorkheavy:latest", messages: [{ role: "user", content: "Why?" }], ...more };
}

const ERRORS = { native: NativeError, ollama: OllamaError, openai: OpenAiError } as const;

/** Checks that an answer is an error of the API's own shape that tells nothing about the inside. */
export function expectRefusal(answer: RawAnswer | undefined, api: Ask["api"], statuses: readonly number[]): void {
  expect(statuses, answer?.body).toContain(answer?.status);
  const parsed = ERRORS[api].safeParse(jsonOf(answer?.body ?? ""));
  expect(parsed.success, `of the ${api} API: ${answer?.body}`).toBe(true);
  expectNothingInside(answer?.body ?? "");
}

/** Checks that what may be taken or refused is one of both. */
export function expectAnswerOrRefusal(answer: RawAnswer | undefined, api: Ask["api"]): void {
  if (answer?.status !== 200) expectRefusal(answer, api, [400]);
  expect(jsonOf(answer?.body ?? "")).toBeTypeOf("object");
}

/** Checks that a text shows no stack, no path of this machine and no module. */
export function expectNothingInside(text: string): void {
  expect(text).not.toMatch(/\n\s+at |node_modules|\.ts:\d|\/runtime\/|file:\/\/|\/root|\/home|\/tmp/);
}
