import kubernetesPackage from "@pulumi/kubernetes/package.json" with { type: "json" };
import { runPlugin } from "../server.ts";
import { KubernetesPlugin } from "./plugin.ts";

await runPlugin(new KubernetesPlugin(kubernetesPackage.version));
