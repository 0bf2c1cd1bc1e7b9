import { EnsembleConfigSchema, type EnsembleConfigInput } from "../../runtime/contracts/ensemble-config.ts";
import { type RunningOrchestrator, startOrchestrator } from "../../runtime/orchestrator/serve.ts";
import { createLogger } from "../../runtime/support/log.ts";
import { type MockBehaviour, type MockModel, startMockModel } from "./mock-model.ts";

/** The five members of the ensemble, by name. */
export const MEMBERS = ["promptimizer", "llama", "qwen", "qwen-small", "judge"] as const;
/** Name of a member of the ensemble. */
export type MemberName = (typeof MEMBERS)[number];

/** An orchestrator over five mock models. */
export interface MockEnsemble {
  url: string;
  mocks: Record<MemberName, MockModel>;
  orchestrator: RunningOrchestrator;
  close(): Promise<void>;
}

const ROLES = {
  promptimizer: "rewriter",
  llama: "candidate",
  qwen: "candidate",
  "qwen-small": "candidate",
  judge: "judge",
} as const;

/** Configuration of a member whose server is at an address. `qwen` speaks the OpenAI API, the others Ollama's. */
export function memberAt(name: MemberName, url: string): EnsembleConfigInput["members"][number] {
  return {
    name,
    role: ROLES[name],
    url,
    model: `${name}:1b`,
    api: name === "qwen" ? "openai" : "ollama",
    prompt: name === "qwen-small" ? "rewritten" : "raw",
  };
}

/** A mock judge: chooses the answer that has such a text in it, else calls it a tie. */
export function judgeFor(text: string): MockBehaviour["answer"] {
  return ({ prompt }) => {
    const ballot = [...prompt.matchAll(/<answer ([A-H]) [0-9a-f]{8}>\n([\s\S]*?)\n<\/answer/g)];
    const winner = ballot.find(([, , said = ""]) => said.includes(text))?.[1] ?? "tie";
    return JSON.stringify({
      winner,
      scores: Object.fromEntries(ballot.map(([, label = "?"]) => [label, [3, 3, 3, 3, 3]])),
    });
  };
}

/**
 * Starts five mocks and an orchestrator over them, on free ports. `qwen` speaks the OpenAI API, the others Ollama's.
 * @param place what of a member's configuration is otherwise, such as another address
 */
export async function startMockEnsemble(
  behaviours: Partial<Record<MemberName, Partial<MockBehaviour>>> = {},
  config: Omit<EnsembleConfigInput, "members"> = {},
  env: Readonly<Record<string, string>> = {},
  place: (
    name: MemberName,
    mock: MockModel,
  ) => Promise<Partial<EnsembleConfigInput["members"][number]>> = async () => ({}),
): Promise<MockEnsemble> {
  const started = await Promise.all(
    MEMBERS.map(async (name) => {
      const answer: MockBehaviour["answer"] =
        name === "judge" ? judgeFor("by llama") : () => `An answer by ${name} here.`;
      return [name, await startMockModel(`${name}:1b`, { answer, ...behaviours[name] })] as const;
    }),
  );
  const mocks = Object.fromEntries(started) as Record<MemberName, MockModel>;
  const orchestrator = await startOrchestrator(
    EnsembleConfigSchema.parse({
      store: { kind: "process" },
      ...config,
      listen: { port: 0 },
      members: await Promise.all(
        MEMBERS.map(async (name) => ({
          ...memberAt(name, mocks[name].url),
          ...(await place(name, mocks[name])),
        })),
      ),
    }),
    createLogger("test", "silent"),
    env,
  );
  return {
    url: orchestrator.listening.url,
    mocks,
    orchestrator,
    close: async () => {
      await orchestrator.stop(0);
      await Promise.all(MEMBERS.map((name) => mocks[name].close()));
    },
  };
}
