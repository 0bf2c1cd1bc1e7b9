import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import type { Calls, RecordedGraph, Stubs } from "../../support/graph.ts";
import { settled, startGraph } from "../../support/graph.ts";
import type { StackOutputs } from "../../../stacks/deploy.ts";
import program from "../../../stacks/index.ts";
import { CREDENTIALS_MARK } from "../../../infra/k3s/service-script.ts";
import { KUBERNETES } from "../components/cluster.ts";

/** A token that must never be seen in plain. */
export const TOKEN_CANARY = "root@pam!gorkheavy=5f0e4f3c-1111-4222-8333-0123456789ab";
/** The part of every private key in these tests that must never be seen in plain. */
export const KEY_CANARY = "canaryPRIVATEkey";
/** The part of the kubeconfig in these tests that must never be seen in plain. */
export const KUBECONFIG_CANARY = "canaryKUBECONFIG";

const PRIVATE_KEY = `-----BEGIN OPENSSH PRIVATE KEY-----\n${KEY_CANARY}\n-----END OPENSSH PRIVATE KEY-----\n`;
/** The cluster's own token, which must never be seen in plain either. */
export const NODE_TOKEN = `K10${"7c".repeat(32)}::server:canaryNODEtoken`;
const KUBECONFIG = `apiVersion: v1
kind: Config
clusters: [{ name: default, cluster: { server: "https://127.0.0.1:6443", certificate-authority-data: YWFh } }]
users: [{ name: default, user: { client-certificate-data: YWFh, client-key-data: ${KUBECONFIG_CANARY} } }]
contexts: [{ name: default, context: { cluster: default, user: default } }]
current-context: default
`;

/** What the providers of a whole stack answer. */
export const WORLD: Stubs = {
  ...KUBERNETES,
  "proxmoxve:download/file:File": () => ({}),
  "proxmoxve:index/fileLegacy:FileLegacy": () => ({}),
  "proxmoxve:index/vmLegacy:VmLegacy": ({ inputs }) => ({ id: String(inputs["vmId"]) }),
  "command:local:Command": ({ inputs }) => ({
    outputs: {
      stdout: String(inputs["create"]).includes("ssh-keygen") ? `${PRIVATE_KEY}ssh-ed25519 AAAAC3Nz ${"key"}` : "",
    },
  }),
  "command:remote:Command": ({ name }) => ({
    outputs: {
      stdout: name.endsWith("-credentials") ? `${NODE_TOKEN}\n${CREDENTIALS_MARK}\n${KUBECONFIG}` : "ready\n",
    },
  }),
};

/** The function that asks a host for its datastores. */
export const GET_DATASTORES = "proxmoxve:index/getDatastores:getDatastores";

/** What every host of {@link WORLD} answers when it is asked. */
export const HOSTS_ANSWER: Calls = {
  [GET_DATASTORES]: ({ nodeName }) => ({
    nodeName,
    datastores: [
      { id: "local", contentTypes: ["import", "iso", "snippets"], active: true, enabled: true },
      { id: "local-lvm", contentTypes: ["images", "rootdir"], active: true, enabled: true },
    ],
  }),
};

const StackFile = z.object({ config: z.looseObject({ "gorkheavy:settings": z.record(z.string(), z.unknown()) }) });

/** The committed settings of a stack. */
export async function committedSettings(stack: string): Promise<Record<string, unknown>> {
  const path = join(import.meta.dirname, "../../../stacks/config", `Pulumi.${stack}.yaml`);
  return StackFile.parse(parse(await readFile(path, "utf8"))).config["gorkheavy:settings"];
}

/** Runs the stacks' own program against recorded providers. */
export async function runStack(
  settings: unknown,
  options: { preview?: boolean; token?: string; calls?: Calls } = {},
): Promise<{ graph: RecordedGraph; outputs: StackOutputs }> {
  const graph = await startGraph(WORLD, {
    preview: options.preview ?? false,
    // A preview asks no host: a call there would have no stub and fail.
    calls: options.calls ?? (options.preview === true ? {} : HOSTS_ANSWER),
    config: {
      "gorkheavy:settings": JSON.stringify(settings),
      "gorkheavy:proxmoxApiToken": options.token ?? TOKEN_CANARY,
    },
  });
  const outputs = await program();
  await graph.settle();
  return { graph, outputs };
}

export { settled };
