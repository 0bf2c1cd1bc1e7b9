import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { parseArgs } from "../args.ts";

/** The key's arguments, as they are checked. The comment goes into a command line, so it may hold nothing that a shell reads. */
export const HostKeySchema = z.strictObject({
  comment: z
    .string()
    .regex(/^[A-Za-z0-9@._-]{1,64}$/, { error: "want 1 to 64 of letters, digits, @ . _ -" })
    .default("k3s-cluster-key"),
});

/** Arguments of {@link HostKey}. */
export interface HostKeyArgs {
  /** Comment in the public key. @default "k3s-cluster-key" (A15) */
  comment?: string;
}

/**
 * An ed25519 key pair (A15), made once during the first `up` on the operator's machine by `ssh-keygen`, and kept in the state as
 * a secret: one for each machine, so that its first answer can be checked, and one that the program logs in with. No key
 * is ever copied between nodes (A16 did; nothing here needs it). Takes its `command` provider from `opts`.
 */
export class HostKey extends pulumi.ComponentResource {
  /** OpenSSH private key, with its final newline. Secret. */
  readonly privateKey: pulumi.Output<string>;
  /** `ssh-ed25519 AAAA… comment`, without newline. */
  readonly publicKey: pulumi.Output<string>;

  constructor(name: string, args: HostKeyArgs = {}, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:ssh:HostKey", name, {}, opts);
    const spec = parseArgs(this, HostKeySchema, args);
    const made = new command.local.Command(
      name,
      { create: renderKeygenCommand(spec.comment), logging: "none", addPreviousOutputInEnv: false },
      {
        parent: this,
        additionalSecretOutputs: ["stdout"],
        // A command runs again when its text changes. A new pair would lock the program out of every machine that knows
        // the old one, so an edit of this file must not make one.
        ignoreChanges: ["create", "logging", "addPreviousOutputInEnv"],
      },
    );
    const pair = pulumi.secret(made.stdout).apply(parseKeyPair);
    this.privateKey = pulumi.secret(pair.privateKey);
    // The public half of a pair is no secret, and as one it would hide every connection in the preview.
    this.publicKey = pulumi.unsecret(pair.publicKey);
    this.registerOutputs({ publicKey: this.publicKey });
  }
}

/** Prints a new private key, then its public one. Pure. */
export function renderKeygenCommand(comment: string): string {
  return [
    "set -eu; umask 077",
    'command -v ssh-keygen >/dev/null || { echo "ssh-keygen is missing on this machine; install it (Debian and Ubuntu: apt-get install openssh-client)" >&2; exit 69; }',
    "folder=$(mktemp -d)",
    "trap 'rm -rf \"$folder\"' EXIT",
    `ssh-keygen -q -t ed25519 -N '' -C '${comment}' -f "$folder/key" </dev/null >&2`,
    'cat "$folder/key" "$folder/key.pub"',
  ].join("\n");
}

const END_OF_KEY = "-----END OPENSSH PRIVATE KEY-----";

/** Takes what {@link renderKeygenCommand} printed apart. @throws Error, without showing the text */
export function parseKeyPair(text: string): { privateKey: string; publicKey: string } {
  const end = text.indexOf(END_OF_KEY);
  const privateKey = `${text.slice(0, end + END_OF_KEY.length)}\n`;
  const publicKey = text.slice(end + END_OF_KEY.length).trim();
  const form = /^ssh-ed25519 [A-Za-z0-9+/]+={0,2}( \S+)?$/;
  if (end < 0 || !privateKey.startsWith("-----BEGIN OPENSSH PRIVATE KEY-----\n") || !form.test(publicKey)) {
    throw new Error(
      "ssh-keygen printed something that is no ed25519 key pair (not shown); check `ssh-keygen -V` on this machine",
    );
  }
  return { privateKey, publicKey };
}
