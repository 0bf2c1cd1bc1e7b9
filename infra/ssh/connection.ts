import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/** A machine that steps can run on. What any step takes, whoever made the machine. */
export interface SshTarget {
  /** Its name in messages. */
  name: string;
  /** Address or host name. */
  host: pulumi.Input<string>;
  /** TCP port. @default 22 */
  port?: pulumi.Input<number>;
  /** User with `sudo` without a password (A18). */
  user: pulumi.Input<string>;
  /** OpenSSH private key to log in with. Secret. */
  privateKey: pulumi.Input<string>;
  /** The machine's public key, `ssh-ed25519 AAAA…`. A machine with another one gets no command. */
  hostKey: pulumi.Input<string>;
  /** The machine as a resource: steps wait for it, run again when it is replaced, and are not undone on it when it goes. @default - somebody else's machine */
  machine?: pulumi.CustomResource;
}

/** Seconds that one attempt to connect may take. */
const PER_DIAL_SECONDS = 15;

/** Longest pause between two attempts, seconds. Source: pulumi-command 1.2.1, remote/connection.go. */
const DIAL_PAUSE_SECONDS = 5;

/** Attempts of a step that is not the first on its machine: the provider's own default. */
const DIAL_ATTEMPTS = 10;

/**
 * How the command provider connects: always with the machine's expected key, never with a password or an agent. With
 * `firstContactSeconds` it goes on trying for about that long, for a machine that is still starting.
 */
export function connectionTo(target: SshTarget, firstContactSeconds = 0): command.types.input.remote.ConnectionArgs {
  return {
    host: target.host,
    port: target.port ?? 22,
    user: target.user,
    privateKey: pulumi.secret(target.privateKey),
    hostKey: target.hostKey,
    perDialTimeout: PER_DIAL_SECONDS,
    dialErrorLimit: DIAL_ATTEMPTS + Math.ceil(firstContactSeconds / DIAL_PAUSE_SECONDS),
  };
}
