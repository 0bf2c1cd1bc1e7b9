import fc from "fast-check";
import { expect, test } from "vitest";
import type { NodeCapacity, Workload } from "../../../components/ensemble/fit.ts";
import { planFit, renderMisfit, roomOf, SYSTEM_RESERVE } from "../../../components/ensemble/fit.ts";
import { packs } from "../../../components/ensemble/packing.ts";
import { MembersSchema, workloadsOf } from "../../../components/ensemble/plan.ts";
import type { Quantity } from "../../../runtime/contracts/index.ts";
import { PROFILES } from "../../../runtime/contracts/index.ts";

const worker = (name: string, memoryMib = 8192, cores = 4): NodeCapacity => ({ name, role: "agent", cores, memoryMib });
const server: NodeCapacity = { name: "k3s-master", role: "server", cores: 4, memoryMib: 8192 };
const seed = workloadsOf(MembersSchema.parse({}));

test("places the seed's ensemble on the seed's machines, one of them lost as well", () => {
  expect(planFit([server, worker("w1"), worker("w2")], seed, PROFILES.default)).toEqual({ fits: true });
});

test("says what is short when the other worker is lost", () => {
  const fit = planFit([server, worker("w1", 4096), worker("w2", 4096)], seed, PROFILES.default);
  expect(fit).toEqual({
    fits: false,
    situation: "without w1",
    workers: ["w2"],
    wanted: { cpuMillicores: 1850, memoryMib: 4224 },
    available: { cpuMillicores: 3500, memoryMib: 4096 - SYSTEM_RESERVE.memoryMib },
    shortfall: { cpuMillicores: 0, memoryMib: 4224 - (4096 - SYSTEM_RESERVE.memoryMib) },
  });
  if (!fit.fits) expect(renderMisfit(fit)).toMatch(/does not fit without w1: .*short of 1664Mi of memory on each/);
});

test("does not ask the seed's profile to survive a lost worker, since its spread cannot", () => {
  expect(planFit([server, worker("w1", 5120), worker("w2", 5120)], seed, PROFILES.default).fits).toBe(false);
  expect(planFit([server, worker("w1", 5120), worker("w2", 5120)], seed, PROFILES.seed)).toEqual({ fits: true });
});

test("never counts the control plane's machine", () => {
  const fit = planFit([server], seed, PROFILES.default);
  expect(fit.fits).toBe(false);
  if (!fit.fits) expect(renderMisfit(fit)).toMatch(/there is no worker; add a node with role agent/);
});

test("counts the new pod of a rollout beside the old ones", () => {
  const one: Workload[] = [{ name: "llama", replicas: 1, requests: { cpuMillicores: 400, memoryMib: 3000 } }];
  const fit = planFit([worker("w1", 3000 + SYSTEM_RESERVE.memoryMib)], one, PROFILES.default);
  expect(fit).toMatchObject({ fits: false, situation: "while llama is exchanged", shortfall: { memoryMib: 3000 } });
});

test("says CPU where CPU is short", () => {
  const busy: Workload[] = [{ name: "llama", replicas: 2, requests: { cpuMillicores: 3000, memoryMib: 100 } }];
  const fit = planFit([worker("w1"), worker("w2")], busy, PROFILES.default);
  expect(fit).toMatchObject({
    situation: "while llama is exchanged",
    shortfall: { cpuMillicores: 2500, memoryMib: 0 },
  });
  if (!fit.fits) expect(renderMisfit(fit)).toMatch(/short of 2500m of CPU on each/);
});

test("knows that an even spread can be impossible where the sums would do", () => {
  const rooms: Quantity[] = [
    { cpuMillicores: 4000, memoryMib: 4000 },
    { cpuMillicores: 4000, memoryMib: 500 },
  ];
  const pods = Array<Quantity>(4).fill({ cpuMillicores: 100, memoryMib: 1000 });
  expect(packs(rooms, pods, Infinity)).toBe(true);
  expect(packs(rooms, pods, 1)).toBe(false);
});

test("counts an empty room as the least of all", () => {
  const roomy: Quantity = { cpuMillicores: 4000, memoryMib: 4000 };
  const tiny: Quantity = { cpuMillicores: 4000, memoryMib: 500 };
  const pods = Array<Quantity>(4).fill({ cpuMillicores: 100, memoryMib: 1000 });
  expect(packs([roomy, roomy, tiny], pods, 2)).toBe(true);
  expect(packs([roomy, roomy, tiny], pods, 1)).toBe(false);
});

const quantity = (most: number): fc.Arbitrary<Quantity> =>
  fc.record({ cpuMillicores: fc.integer({ min: 1, max: most }), memoryMib: fc.integer({ min: 1, max: most }) });
const problem = fc.record({
  rooms: fc.array(quantity(20), { minLength: 1, maxLength: 3 }),
  pods: fc.array(quantity(12), { maxLength: 6 }),
  skew: fc.constantFrom(1, 2, Infinity),
});

test("agrees with trying every assignment", () => {
  fc.assert(
    fc.property(problem, ({ rooms, pods, skew }) => {
      expect(packs(rooms, pods, skew)).toBe(anyAssignment(rooms, pods, skew));
    }),
    { numRuns: 400 },
  );
});

/** All assignments, one by one: slow and plainly right. */
function anyAssignment(rooms: readonly Quantity[], pods: readonly Quantity[], skew: number): boolean {
  for (let code = 0; code < rooms.length ** pods.length; code++) {
    const used = rooms.map(() => ({ cpuMillicores: 0, memoryMib: 0, pods: 0 }));
    let rest = code;
    for (const pod of pods) {
      const place = used[rest % rooms.length];
      rest = Math.floor(rest / rooms.length);
      if (place === undefined) continue;
      place.cpuMillicores += pod.cpuMillicores;
      place.memoryMib += pod.memoryMib;
      place.pods += 1;
    }
    const fits = used.every(
      (place, index) =>
        place.cpuMillicores <= (rooms[index]?.cpuMillicores ?? 0) && place.memoryMib <= (rooms[index]?.memoryMib ?? 0),
    );
    const counts = used.map((place) => place.pods);
    if (fits && Math.max(...counts) - Math.min(...counts) <= skew) return true;
  }
  return false;
}

const cluster = fc.record({
  nodes: fc.array(
    fc.record({ cores: fc.integer({ min: 1, max: 6 }), memoryMib: fc.integer({ min: 1024, max: 9000 }) }),
    {
      minLength: 1,
      maxLength: 3,
    },
  ),
  workloads: fc.array(
    fc.record({
      replicas: fc.integer({ min: 0, max: 2 }),
      requests: fc.record({
        cpuMillicores: fc.integer({ min: 1, max: 2000 }),
        memoryMib: fc.integer({ min: 1, max: 3000 }),
      }),
    }),
    { maxLength: 3 },
  ),
});

test("the shortfall is enough, and no MiB of it too much", () => {
  fc.assert(
    fc.property(cluster, ({ nodes, workloads }) => {
      const machines = nodes.map((node, index): NodeCapacity => ({ ...node, name: `w${index}`, role: "agent" }));
      const named = workloads.map((workload, index) => ({ ...workload, name: `m${index}` }));
      const fit = planFit(machines, named, PROFILES.default);
      if (fit.fits) return;
      const pods = named.flatMap(({ name, replicas, requests }) =>
        Array<Quantity>(replicas + (fit.situation === `while ${name} is exchanged` ? 1 : 0)).fill(requests),
      );
      const rooms = machines.filter((machine) => fit.workers.includes(machine.name)).map(roomOf);
      const grown = (memoryMib: number, cpuMillicores: number): Quantity[] =>
        rooms.map((room) => ({
          memoryMib: room.memoryMib + memoryMib,
          cpuMillicores: room.cpuMillicores + cpuMillicores,
        }));
      const { memoryMib, cpuMillicores } = fit.shortfall;
      expect(memoryMib + cpuMillicores).toBeGreaterThan(0);
      expect(packs(grown(memoryMib, cpuMillicores), pods, 1)).toBe(true);
      if (memoryMib > 0) expect(packs(grown(memoryMib - 1, cpuMillicores), pods, 1)).toBe(false);
      if (cpuMillicores > 0) expect(packs(grown(memoryMib, cpuMillicores - 1), pods, 1)).toBe(false);
    }),
    { numRuns: 200 },
  );
});
