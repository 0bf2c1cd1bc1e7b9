import { join } from "node:path";
import { execa } from "execa";
import { repositoryRoot } from "../tools/paths.ts";
import { EngineAnswer, type EngineDone, type EngineRequest } from "./request.ts";

/** The engine ended with an error of the program, a provider or a host. The message is for the user as it stands. */
export class EngineFailure extends Error {
  override readonly name = "EngineFailure";
}

/**
 * Runs the engine in a process of its own and passes its progress on.
 * @param prefix command line that puts the process where it belongs, e.g. into the lab's network; may be empty
 * @throws EngineFailure
 */
export async function runEngine(
  request: EngineRequest,
  prefix: readonly string[],
  say: (line: string) => void,
): Promise<EngineDone> {
  const [program = "", ...args] = [
    ...prefix,
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    join(repositoryRoot, "infra/lab/stack/main.ts"),
  ];
  const child = execa(program, args, {
    input: JSON.stringify(request),
    buffer: false,
    reject: false,
    stdout: "pipe",
    stderr: "pipe",
    // The engine's CLI keeps logs under its home as soon as it is asked for its version: not under the user's.
    env: { HOME: join(request.dir, "home"), PULUMI_HOME: join(request.dir, "home") },
  });
  const stray: string[] = [];
  const collectStray = (async () => {
    for await (const line of child.iterable({ from: "stderr" })) stray.push(line);
  })();
  let done: EngineDone | undefined;
  let failure: string | undefined;
  for await (const line of child.iterable({ from: "stdout" })) {
    const answer = parseAnswer(line);
    if (!answer) stray.push(line);
    else if ("say" in answer) say(answer.say);
    else if ("failure" in answer) failure = answer.failure;
    else done = answer.done;
  }
  const result = await child;
  await collectStray;
  if (failure !== undefined) throw new EngineFailure(failure);
  if (done) return done;
  throw new EngineFailure(
    `the engine's process ended without an answer (exit code ${result.exitCode}, signal ${result.signal}):\n${stray.slice(-20).join("\n")}`,
  );
}

function parseAnswer(line: string): EngineAnswer | undefined {
  try {
    return EngineAnswer.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
