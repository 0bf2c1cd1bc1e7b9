import { describe, expect, test } from "vitest";
import { type Member, MemberSchema } from "../../../../../runtime/contracts/ensemble-config.ts";
import { bodyFor, skim } from "../../../../../runtime/orchestrator/passthrough/request.ts";
import { type Route, ROUTES } from "../../../../../runtime/orchestrator/passthrough/routes.ts";

const member = (more: object = {}): Member =>
  MemberSchema.parse({ name: "llama", role: "candidate", url: "http://llama:11434", model: "llama3.2:1b", ...more });
const route = (path: string): Route => {
  const found = ROUTES.find((one) => one.path === path);
  if (found === undefined) throw new Error(`no route ${path}`);
  return found;
};
const passed = (path: string, body: string, one = member()): string =>
  bodyFor(skim(Buffer.from(body), route(path)), one, route(path)).toString();

describe("a body passed on", () => {
  test("has another model's name and is else the same, to the byte", () => {
    const rest =
      ' "messages": [ {"role":"user","content":"say \\u0022model\\u0022: é 漢"} ], "seed": 1.50, "x": {"model":"y"}}';
    expect(passed("/v1/chat/completions", `{"model": "llama",${rest}`)).toBe(`{"model": "llama3.2:1b",${rest}`);
  });

  test.each([
    ['{"model":"llama"}', { num_ctx: 4096, num_thread: 2 }],
    ['{"options":null,"model":"llama"}', { num_ctx: 4096, num_thread: 2 }],
    ['{"options": { },"model":"llama"}', { num_ctx: 4096, num_thread: 2 }],
    ['{"model":"llama","options":{"seed":1}}', { num_ctx: 4096, num_thread: 2, seed: 1 }],
    ['{"options":{"num_ctx":512,"seed":1},"model":"llama"}', { num_ctx: 512, num_thread: 2, seed: 1 }],
    ['{"model":"llama","options":{"num_thread":9,"num_ctx":512}}', { num_ctx: 512, num_thread: 9 }],
  ])("names context window and threads to Ollama where %s does not", (body, options) => {
    expect(JSON.parse(passed("/api/chat", body, member({ numThread: 2 })))).toEqual({ model: "llama3.2:1b", options });
  });

  test("names them nowhere else", () => {
    const body = '{"model":"llama","messages":[{}]}';
    expect(passed("/v1/chat/completions", body)).toBe('{"model":"llama3.2:1b","messages":[{}]}');
  });

  test("may ask /api/show by the field's old name", () => {
    expect(passed("/api/show", '{"name":"llama"}')).toBe('{"name":"llama3.2:1b"}');
  });
});

describe("a body is refused", () => {
  test.each([
    ["/api/chat", '{"messages":[]}', /^model: want the name/],
    ["/api/chat", '{"model":7}', /^model: got number, want string/],
    ["/api/chat", '{"model":""}', /^model: want the name/],
    ["/api/chat", '{"model":"llama","model":"other"}', /^model: want it once/],
    ["/api/chat", '{"model":"llama","MODEL":"other"}', /^model: want it once/],
    ["/api/chat", '{"Model":"other"}', /^model: want it once/],
    ["/api/chat", '{"model":"llama","stream":"yes"}', /^stream: got string, want boolean/],
    ["/v1/chat/completions", '{"model":"llama"}', /^messages: missing/],
    ["/v1/chat/completions", '{"model":"llama","messages":[ ]}', /^messages: want at least one/],
    ["/v1/chat/completions", '{"model":"llama","messages":{}}', /^messages: got object, want array/],
    ["/v1/embeddings", '{"model":"llama","input":3}', /^input: got number, want string or array/],
  ])("on %s when it is %s", (path, body, message) => {
    expect(() => skim(Buffer.from(body), route(path))).toThrow(message);
  });
});
