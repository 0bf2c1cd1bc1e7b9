import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { Ensemble } from "gorkheavy/components";

export default async function program() {
  const kubeconfig = new pulumi.Config().requireSecret("kubeconfig");
  const cluster = new k8s.Provider("my-cluster", { kubeconfig });

  const ensemble = new Ensemble(
    "opus",
    {
      image: "ghcr.io/gorkheavy/runtime:0.1.0",
      backend: "ollama",
      // Weights go with their pods, since nothing is known of this cluster's disks. Where nodes have /var/lib/gorkheavy/models, owned by
      // user 1000, leave this out; where a storage class gives ReadWriteMany, say { kind: "claim", storageClass: "…" }.
      store: { kind: "ephemeral" },
    },
    { provider: cluster },
  );

  return { url: ensemble.url, namespace: ensemble.namespace };
}
