import { join } from "node:path";
import { labStateDir } from "./tools/paths.ts";

/** Name of the lab when none is given; with it the network namespace is `gorkheavy-lab`. */
export const DEFAULT_LAB = "lab";

/** Where one lab keeps what. Two labs of different names can run side by side. */
export interface Lab {
  name: string;
  /** Disks, Pulumi state, logs, keys. Removed by `down`. */
  stateDir: string;
  /** Sockets and the lock; one per machine and name, whoever starts it. Removed by `down`. */
  runDir: string;
  /** Held by the command that changes the lab, and by nobody between commands. */
  operationLock: string;
  /** Held by the datacentre process as long as the lab is up. */
  datacentreLock: string;
  /** Socket of the datacentre's control API. */
  controlSocket: string;
  /** Socket that leads to the orchestrator's Service. */
  orchestratorSocket: string;
  /** Certificate of the lab's own authority, PEM. */
  caFile: string;
  kubeconfigFile: string;
  sshKeyFile: string;
  knownHostsFile: string;
  logFile: string;
}

/**
 * The places of a lab.
 * @throws Error when the name could not be part of a network namespace's or a machine's name
 */
export function labOf(name: string = DEFAULT_LAB): Lab {
  if (!/^[a-z][a-z0-9-]{0,19}$/.test(name)) {
    throw new Error(
      `--name: got ${JSON.stringify(name)}, want 1 to 20 of a-z, 0-9 and '-', starting with a letter. Choose another name.`,
    );
  }
  const stateDir = labStateDir(name);
  const runDir = join("/run/gorkheavy", name);
  return {
    name,
    stateDir,
    runDir,
    operationLock: `${runDir}.lock`,
    datacentreLock: join(runDir, "datacentre.lock"),
    controlSocket: join(runDir, "control.sock"),
    orchestratorSocket: join(runDir, "orchestrator.sock"),
    caFile: join(stateDir, "ca.pem"),
    kubeconfigFile: join(stateDir, "kubeconfig"),
    sshKeyFile: join(stateDir, "ssh_key"),
    knownHostsFile: join(stateDir, "known_hosts"),
    logFile: join(stateDir, "datacentre.log"),
  };
}
