import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { LocalWorkspace, PulumiCommand } from "@pulumi/pulumi/automation/index.js";
import type { PulumiFn, Stack } from "@pulumi/pulumi/automation/index.js";
import { installPlugins } from "../../../infra/lab/plugins/install.ts";

/** Where a real engine is: `GORKHEAVY_PULUMI` names the binary, else PATH has it. Undefined when there is none. */
export async function findEngine(): Promise<string | undefined> {
  const named = process.env["GORKHEAVY_PULUMI"];
  const candidates =
    named === undefined
      ? (process.env["PATH"] ?? "").split(path.delimiter).map((folder) => path.join(folder, "pulumi"))
      : [named];
  for (const candidate of candidates) {
    const found = await access(candidate).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return undefined;
}

/** One stack of a test, in folders of its own. */
export interface TestStack {
  stack: Stack;
  /** Everything that the engine wrote for the user so far. */
  output: string[];
  onOutput: (text: string) => void;
  /** The state file as it lies on the disk, where secrets are ciphertext. */
  readState(): Promise<string>;
  dispose(): Promise<void>;
}

/** Makes a stack that the real engine runs with the lab's plugins; `program` is asked anew at each operation. */
export async function createTestStack(
  engine: string,
  program: PulumiFn,
  environment: Record<string, string> = {},
): Promise<TestStack> {
  const root = await mkdtemp(path.join(tmpdir(), "gorkheavy-plugins-"));
  const home = path.join(root, "home");
  await installPlugins(home, process.execPath);
  const output: string[] = [];
  const stack = await LocalWorkspace.createOrSelectStack(
    { stackName: "test", projectName: "plugins", program },
    {
      pulumiHome: home,
      pulumiCommand: await pulumiCommand(engine),
      envVars: {
        ...environment,
        PULUMI_BACKEND_URL: `file://${root}`,
        PULUMI_CONFIG_PASSPHRASE: "test",
        PULUMI_SKIP_UPDATE_CHECK: "true",
        PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
      },
    },
  );
  return {
    stack,
    output,
    onOutput: (text) => output.push(text),
    readState: () => readFile(path.join(root, ".pulumi", "stacks", "plugins", "test.json"), "utf8"),
    async dispose() {
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** The Automation API looks for `ROOT/bin/pulumi`; an engine elsewhere comes by way of PATH. */
async function pulumiCommand(engine: string): Promise<PulumiCommand> {
  const folder = path.dirname(engine);
  if (!(process.env["PATH"] ?? "").split(path.delimiter).includes(folder)) {
    process.env["PATH"] = `${folder}${path.delimiter}${process.env["PATH"] ?? ""}`;
  }
  return PulumiCommand.get();
}
