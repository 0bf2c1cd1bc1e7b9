import { namespacePath } from "./network.ts";

/**
 * How much of the lab's isolation a command gets.
 * - `client`: the lab's network, and a process namespace that dies with whoever started the command: pulumi, kubectl, ssh.
 * - `datacentre`: the same without the tie to its starter, which may end: the process that runs the machines.
 */
export type Isolation = "client" | "datacentre";

/**
 * Process 1 of the namespace. It collects orphans, and its end is the end of all that the command has left running there.
 * Signals from a terminal reach the command itself, which is in the same process group.
 */
export const FIRST_PROCESS = '"$@"; exit $?';

/** Ends at once when the starter died before its death could be told: process 1 of this namespace has taken the command over. */
const STILL_WANTED = '[ "$PPID" -ne 1 ] || exit 1; exec "$@"';

/**
 * Puts a command into a lab: argument vector to be started as it is (root only).
 *
 * The command runs in the lab's network, in process and mount namespaces of its own. When it ends or any process of the chain is killed,
 * by whatever signal, the kernel ends everything that it started, machines included, and unmounts everything that it mounted.
 * The exit status is the command's. To interrupt it gently, signal its process group: `unshare` holds back SIGINT and SIGTERM sent to itself.
 * @param lab name of the lab, whose network must exist
 */
export function isolated(lab: string, argv: readonly string[], isolation: Isolation = "client"): string[] {
  return [
    "nsenter",
    `--net=${namespacePath(lab)}`,
    "--",
    // Set after nsenter has changed into the program, or the kernel would forget it.
    ...(isolation === "client"
      ? ["setpriv", "--pdeathsig", "KILL", ...(process.pid === 1 ? [] : ["sh", "-c", STILL_WANTED, "sh"])]
      : []),
    "unshare",
    // `slave`: the host can still unmount its disks, and nothing that is mounted here shows there.
    ...["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"],
    ...["sh", "-c", FIRST_PROCESS, "sh"],
    ...argv,
  ];
}
