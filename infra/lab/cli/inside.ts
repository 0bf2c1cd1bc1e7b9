import { existsSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import type { Lab } from "../lab.ts";
import { isolated } from "../nodes/isolation.ts";
import { resolveK3s } from "../tools/k3s-release.ts";
import { kubectlEnv, readOutputs } from "./outputs.ts";

/** Commands that run inside the lab's network, on this terminal; the process ends with their exit code. */
export const inside = {
  /** kubectl with the lab's kubeconfig. */
  async kubectl(lab: Lab, args: string[]): Promise<void> {
    await readOutputs(lab);
    const k3s = await resolveK3s(() => {});
    await run(lab, [k3s.path, "kubectl", "--kubeconfig", lab.kubeconfigFile, ...args], { env: kubectlEnv(lab) });
  },

  /** SSH to a node by name, with its host key pinned. @throws Error naming the nodes there are */
  async ssh(lab: Lab, nodeName: string, command: string[]): Promise<void> {
    const { nodes, sshUser } = await readOutputs(lab);
    const node = nodes.find((n) => n.name === nodeName);
    if (!node)
      throw new Error(`ssh: got node ${JSON.stringify(nodeName)}, want one of ${nodes.map((n) => n.name).join(", ")}.`);
    const options = [
      ["UserKnownHostsFile", lab.knownHostsFile],
      ["GlobalKnownHostsFile", "/dev/null"],
      ["StrictHostKeyChecking", "yes"],
      ["IdentitiesOnly", "yes"],
      ["LogLevel", "ERROR"],
    ].flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    await run(lab, [
      "ssh",
      "-F",
      "/dev/null",
      "-i",
      lab.sshKeyFile,
      ...options,
      `${sshUser}@${node.address}`,
      ...command,
    ]);
  },

  /** The Pulumi CLI on the lab's own backend. */
  async pulumi(lab: Lab, args: string[]): Promise<void> {
    const dir = join(lab.stateDir, "engine");
    const program = join(dir, "bin/pulumi");
    if (!existsSync(program)) throw new Error(`Lab "${lab.name}" has no stack yet. Start it: npm run lab`);
    await run(lab, [program, ...args], {
      cwd: join(dir, "workspace"),
      env: {
        HOME: join(dir, "home"),
        PULUMI_HOME: join(dir, "home"),
        PULUMI_CONFIG_PASSPHRASE_FILE: join(dir, "passphrase"),
        PULUMI_BACKEND_URL: `file://${join(dir, "backend")}`,
        PULUMI_SKIP_UPDATE_CHECK: "true",
        PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
        SSL_CERT_FILE: lab.caFile,
      },
    });
  },
};

async function run(
  lab: Lab,
  argv: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<void> {
  const [program = "", ...args] = isolated(lab.name, argv);
  const result = await execa(program, args, { ...options, stdio: "inherit", reject: false });
  process.exitCode = result.exitCode ?? 1;
}
