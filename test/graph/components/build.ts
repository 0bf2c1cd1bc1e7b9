import { Ensemble, type EnsembleArgs } from "../../../components/index.ts";
import type { RecordedGraph } from "../../support/graph.ts";
import { deploymentOf, startCluster } from "./cluster.ts";

/** Image of every ensemble that the graph tests build. */
export const IMAGE = "ghcr.io/gorkheavy/runtime:0.1.0";

/** The ensemble `opus` with these arguments, recorded to its end. */
export async function build(
  args: Partial<EnsembleArgs> = {},
  preview = false,
): Promise<{ graph: RecordedGraph; ensemble: Ensemble }> {
  const { graph, provider } = await startCluster({ preview });
  const ensemble = new Ensemble("opus", { image: IMAGE, ...args }, { provider });
  await graph.settle();
  return { graph, ensemble };
}

/** The Deployments of a graph by name. */
export function deployments(graph: RecordedGraph): Map<string, ReturnType<typeof deploymentOf>> {
  const found = graph.ofType("kubernetes:apps/v1:Deployment").map((registration) => deploymentOf(registration));
  return new Map(found.map((deployment) => [deployment.metadata.name, deployment]));
}
