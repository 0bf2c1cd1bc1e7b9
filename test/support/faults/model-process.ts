// One mock model in a process of its own, so that it can be killed and stopped as a pod can. Prints its address.
import { startMockModel } from "../mock-model.ts";

const [model = "model", port = "0", answer = "An answer.", prefillMs = "0", tokenMs = "0"] = process.argv.slice(2);
const mock = await startMockModel(
  model,
  { answer: () => answer, prefillMs: Number(prefillMs), tokenMs: Number(tokenMs) },
  Number(port),
);
process.stdout.write(`${mock.url}\n`);
