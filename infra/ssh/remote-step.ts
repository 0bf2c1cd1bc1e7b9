import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { parseArgs } from "../args.ts";
import { connectionTo, type SshTarget } from "./connection.ts";
import { renderProgram, renderStep } from "./step-script.ts";

/** The step's plain arguments, as they are checked. */
export const RemoteStepSchema = z.strictObject({
  title: z.string().regex(/^[^\n]{1,80}$/, { error: "want one short line" }),
  deadlineSeconds: z.int().min(1).max(86_400).default(600),
  deleteDeadlineSeconds: z.int().min(1).max(86_400).default(300),
  firstContactSeconds: z.int().min(0).max(86_400).default(0),
  secretOutput: z.boolean().default(false),
  undoneWithMachine: z.boolean().default(true),
});

/** Arguments of {@link RemoteStep}. */
export interface RemoteStepArgs {
  /** Where. */
  target: SshTarget;
  /** What it does, in a few words; starts each message of the step. */
  title: string;
  /** Bash, run as root with `set -euo pipefail`; safe to run twice. Holds no secret: previews show it. */
  script: pulumi.Input<string>;
  /** What the script reads from standard input; secrets go here, and then previews show neither it nor the script. @default - nothing */
  stdin?: pulumi.Input<string>;
  /** Values whose change runs the script again, beside the script itself. @default - none */
  triggers?: readonly pulumi.Input<unknown>[];
  /** Bash that undoes the step when it is taken out of the program. @default - nothing is undone */
  deleteScript?: pulumi.Input<string>;
  /** Seconds until the script is ended as failed. @default 600 */
  deadlineSeconds?: number;
  /** The same for `deleteScript`. @default 300 */
  deleteDeadlineSeconds?: number;
  /** Seconds to go on trying to connect, for a machine that may be starting. @default 0: a minute or so */
  firstContactSeconds?: number;
  /** Whether the output is a secret; then it is neither logged nor in plain state. @default false */
  secretOutput?: boolean;
  /** Whether `deleteScript` is left out when the machine itself is deleted too. @default true */
  undoneWithMachine?: boolean;
  /** Machines whose replacement undoes the step before and runs it again after. @default - the target's own */
  renewedWith?: readonly pulumi.Resource[];
}

/**
 * One step on one host, over SSH with a checked host key: runs once, again when its script, input or triggers change, again
 * when the machine is replaced, and always by the same script. Fails with the host, the step and the script's own last words.
 * Takes its `command` provider from `opts`.
 */
export class RemoteStep extends pulumi.ComponentResource {
  /** What the script printed; a secret when `secretOutput`. */
  readonly stdout: pulumi.Output<string>;

  constructor(name: string, args: RemoteStepArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:ssh:RemoteStep", name, {}, opts);
    const { target, script, stdin, triggers, deleteScript, renewedWith, ...plain } = args;
    const spec = parseArgs(this, RemoteStepSchema, plain);
    const commandTo = (part: "run" | "undo", deadlineSeconds: number): string =>
      renderStep({ host: target.name, title: spec.title, part, deadlineSeconds });
    const program = pulumi
      .all([script, deleteScript, stdin, pulumi.output(triggers === undefined ? undefined : [...triggers])])
      .apply(([run, undo, input, again]) => renderProgram({ run, undo, input, triggers: again }));
    const own = target.machine === undefined ? [] : [target.machine];
    const machines = [...(renewedWith ?? own)];

    const run = new command.remote.Command(
      name,
      {
        connection: connectionTo(target, spec.firstContactSeconds),
        create: commandTo("run", spec.deadlineSeconds),
        // `triggers` are in the program: as the command's own they replace it, whatever `update` says (pulumi-command#855), and
        // a replaced step is undone first, so more memory would drain the node.
        update: commandTo("run", spec.deadlineSeconds),
        ...(deleteScript === undefined ? {} : { delete: commandTo("undo", spec.deleteDeadlineSeconds) }),
        stdin: stdin === undefined ? program : pulumi.secret(program),
        addPreviousOutputInEnv: false,
        logging: spec.secretOutput || stdin !== undefined ? "none" : "stderr",
      },
      pulumi.mergeOptions(
        {
          parent: this,
          dependsOn: own,
          ...(machines.length === 0 ? {} : { replaceWith: machines }),
          // Undone before it is done again: both speak of the same machine, by its name.
          deleteBeforeReplace: true,
          ...(spec.undoneWithMachine && target.machine !== undefined ? { deletedWith: target.machine } : {}),
          ...(spec.secretOutput ? { additionalSecretOutputs: ["stdout"] } : {}),
        },
        // The component's own wait is not in the state: without it here, a machine could go before the step that leaves it.
        { dependsOn: opts?.dependsOn },
      ),
    );
    this.stdout = spec.secretOutput ? pulumi.secret(run.stdout) : run.stdout;
    this.registerOutputs({});
  }
}
