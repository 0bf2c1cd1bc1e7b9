import { z } from "zod";
import type { Profile, Quantity } from "../../runtime/contracts/index.ts";
import { renderCpu, totalOf } from "../../runtime/contracts/index.ts";
import { packs } from "./packing.ts";

/** A machine of the cluster, as big as it is bought. */
export const NodeCapacitySchema = z.strictObject({
  name: z.string().min(1),
  /** `server` runs the control plane and takes no pod of the ensemble; `agent` takes them. */
  role: z.enum(["server", "agent"]),
  /** CPU cores. */
  cores: z.int().min(1).max(1024),
  /** Memory, MiB. */
  memoryMib: z.int().min(1),
});
export type NodeCapacity = z.output<typeof NodeCapacitySchema>;

/**
 * What a worker keeps for itself: kernel, kubelet, containerd, and what K3s runs there (CoreDNS, metrics-server, Traefik).
 * The seed kept half of 8 GB; then its own ensemble (4224 MiB of requests) would not survive a lost worker on paper, though it does
 * in fact: a K3s agent with those pods takes about 1 GB.
 */
export const SYSTEM_RESERVE: Quantity = { cpuMillicores: 500, memoryMib: 1536 };

/** One Deployment's pods. */
export interface Workload {
  name: string;
  replicas: number;
  /** What each pod asks for. */
  requests: Quantity;
}

/** A situation in which every pod must find a place. */
export type Situation = "every day" | `while ${string} is exchanged` | `without ${string}`;

/** What is short, and where. */
export interface Misfit {
  fits: false;
  situation: Situation;
  /** Workers that are there in that situation. */
  workers: string[];
  /** What all pods ask for in it. */
  wanted: Quantity;
  /** What those workers have to give together. */
  available: Quantity;
  /** How much more **each** of those workers needs; without a worker, what all pods ask for. */
  shortfall: Quantity;
}

/** The answer of {@link planFit}. */
export type Fit = { fits: true } | Misfit;

/**
 * Whether the scheduler can place every pod: by its requests, evenly over the workers; also while a rollout runs one new pod beside the
 * old ones (one is enough: each that is done makes room for the next); and also with any one worker lost. The last is asked only where
 * it can be true: with two workers or more, and of a profile whose spread leaves a lost node out of its domains (the seed's does not:
 * A2.3 of the seed inventory).
 * @returns when several situations are short, the one that is short of most.
 */
export function planFit(nodes: readonly NodeCapacity[], workloads: readonly Workload[], profile: Profile): Fit {
  const workers = nodes.filter((node) => node.role === "agent");
  const daily = workloads.flatMap((workload) => Array<Quantity>(workload.replicas).fill(workload.requests));
  const survives = workers.length > 1 && profile.spread.nodeTaintsPolicy === "Honor";
  const skew = profile.spread.whenUnsatisfiable === "DoNotSchedule" ? profile.spread.maxSkew : Infinity;

  const look = (situation: Situation, present: readonly NodeCapacity[], pods: readonly Quantity[]): Misfit[] => {
    const rooms = present.map(roomOf);
    if (packs(rooms, pods, skew)) return [];
    const shortfall = present.length === 0 ? totalOf(pods) : shortfallOf(rooms, pods, skew);
    const names = present.map((worker) => worker.name);
    return [{ fits: false, situation, workers: names, wanted: totalOf(pods), available: totalOf(rooms), shortfall }];
  };
  const [worst] = [
    ...look("every day", workers, daily),
    ...workloads
      .filter((workload) => workload.replicas > 0)
      .flatMap(({ name, requests }) => look(`while ${name} is exchanged`, workers, [...daily, requests])),
    ...(survives ? workers : []).flatMap((lost) =>
      look(
        `without ${lost.name}`,
        workers.filter((worker) => worker !== lost),
        daily,
      ),
    ),
  ].sort(
    (a, b) => b.shortfall.memoryMib - a.shortfall.memoryMib || b.shortfall.cpuMillicores - a.shortfall.cpuMillicores,
  );
  return worst ?? { fits: true };
}

/** What a worker has for pods of the ensemble. */
export function roomOf(node: Pick<NodeCapacity, "cores" | "memoryMib">): Quantity {
  return {
    cpuMillicores: Math.max(0, node.cores * 1000 - SYSTEM_RESERVE.cpuMillicores),
    memoryMib: Math.max(0, node.memoryMib - SYSTEM_RESERVE.memoryMib),
  };
}

/** The refusal in words: what was looked at, what is short, what to do. */
export function renderMisfit(fit: Misfit): string {
  const { situation, workers, wanted, available, shortfall } = fit;
  const amount = (q: Quantity): string => `${q.memoryMib}Mi and ${renderCpu(q.cpuMillicores)}`;
  if (workers.length === 0) {
    return `the ensemble does not fit ${situation}: it asks for ${amount(wanted)} and there is no worker; add a node with role agent`;
  }
  const short = [
    ...(shortfall.memoryMib > 0 ? [`${shortfall.memoryMib}Mi of memory`] : []),
    ...(shortfall.cpuMillicores > 0 ? [`${renderCpu(shortfall.cpuMillicores)} of CPU`] : []),
  ].join(" and ");
  return (
    `the ensemble does not fit ${situation}: it asks for ${amount(wanted)}, ${workers.join(", ")} ` +
    `${workers.length === 1 ? "has" : "have together"} ${amount(available)} to give; short of ${short} on each of them; ` +
    "give the workers more memoryMib or cores, add a worker, or lower requests or replicas"
  );
}

/** Smallest addition to every room with which the pods find a place: memory first, then CPU. */
function shortfallOf(rooms: readonly Quantity[], pods: readonly Quantity[], skew: number): Quantity {
  const all = totalOf(pods);
  const grown = (memoryMib: number, cpuMillicores: number): Quantity[] =>
    rooms.map((room) => ({
      memoryMib: room.memoryMib + memoryMib,
      cpuMillicores: room.cpuMillicores + cpuMillicores,
    }));
  // With `all` added to each, one worker alone could hold everything: the searches cannot fail at their upper ends.
  const memoryMib = smallest(all.memoryMib, (extra) => packs(grown(extra, all.cpuMillicores), pods, skew));
  const cpuMillicores = smallest(all.cpuMillicores, (extra) => packs(grown(memoryMib, extra), pods, skew));
  return { memoryMib, cpuMillicores };
}

/** Smallest integer from 0 to `top` that is enough, where more is always enough too. */
function smallest(top: number, enough: (extra: number) => boolean): number {
  let low = 0;
  let high = top;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (enough(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
