import type * as k8s from "@pulumi/kubernetes";
import { ORCHESTRATOR_PORT } from "../../runtime/contracts/index.ts";
import { ensembleSelector } from "../labels.ts";
import type { Destination } from "../models/weights.ts";

type Policy = k8s.types.input.networking.v1.NetworkPolicySpec;

/** Asking names of CoreDNS, by UDP and, for long answers, TCP. K3s runs it in kube-system with this label. */
const toDns: k8s.types.input.networking.v1.NetworkPolicyEgressRule = {
  to: [
    {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
      podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
    },
  ],
  ports: [
    { port: 53, protocol: "UDP" },
    { port: 53, protocol: "TCP" },
  ],
};

/**
 * Models are reachable from the orchestrator only. Ollama has no login, so this is what keeps it private.
 * @param port of the models' API
 * @param downloads where the pods fetch weights from; none where they never do
 */
export function modelPolicy(port: number, downloads: readonly Destination[]): Policy {
  return {
    podSelector: { matchLabels: ensembleSelector("model") },
    policyTypes: ["Ingress", "Egress"],
    ingress: [
      {
        from: [{ podSelector: { matchLabels: ensembleSelector("orchestrator") } }],
        ports: [{ port, protocol: "TCP" }],
      },
    ],
    egress: [toDns, ...downloads.map(toDestination)],
  };
}

/** What fills the models' store is reachable by nobody, and goes to where the weights come from. */
export function weightsPolicy(downloads: readonly Destination[]): Policy {
  return {
    podSelector: { matchLabels: ensembleSelector("weights") },
    policyTypes: ["Ingress", "Egress"],
    ingress: [],
    egress: [toDns, ...downloads.map(toDestination)],
  };
}

function toDestination({ address, port }: Destination): k8s.types.input.networking.v1.NetworkPolicyEgressRule {
  return {
    ...(address === undefined ? {} : { to: [{ ipBlock: { cidr: `${address}/32` } }] }),
    ports: [{ port, protocol: "TCP" }],
  };
}

/**
 * The orchestrator talks to its models, to the port of its database, and to nobody else.
 * @param modelPort of the models' API
 * @param clients address ranges (CIDR) that reach it beside the pods of its own namespace and `kubectl port-forward`, which enters the
 * pod through its node; or everybody.
 * @param databasePort TCP port of the database, wherever it is; none: there is no database
 */
export function orchestratorPolicy(
  modelPort: number,
  clients: readonly string[] | "everybody",
  databasePort?: number,
): Policy {
  const from = [
    { podSelector: {} },
    ...(clients === "everybody" ? [] : clients.map((cidr) => ({ ipBlock: { cidr } }))),
  ];
  return {
    podSelector: { matchLabels: ensembleSelector("orchestrator") },
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ ...(clients === "everybody" ? {} : { from }), ports: [{ port: ORCHESTRATOR_PORT, protocol: "TCP" }] }],
    egress: [
      toDns,
      {
        to: [{ podSelector: { matchLabels: ensembleSelector("model") } }],
        ports: [{ port: modelPort, protocol: "TCP" }],
      },
      ...(databasePort === undefined ? [] : [{ ports: [{ port: databasePort, protocol: "TCP" }] }]),
    ],
  };
}
