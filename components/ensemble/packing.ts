import type { Quantity } from "../../runtime/contracts/index.ts";
import { totalOf } from "../../runtime/contracts/index.ts";

/** Steps after which the exact search gives up and the answer is no. Five models and three workers need a few hundred. */
const MAX_STEPS = 200_000;

/**
 * Whether all pods find a room at once, with numbers of pods per room that differ by at most `maxSkew`.
 * Exact for ensembles of this size; for very large ones a no may be too strict, a yes never is.
 * @param maxSkew `Infinity` where spreading is only a wish.
 */
export function packs(rooms: readonly Quantity[], pods: readonly Quantity[], maxSkew: number): boolean {
  if (pods.length === 0) return true;
  if (rooms.length === 0) return false;
  const total = totalOf(rooms);
  const wanted = totalOf(pods);
  if (wanted.memoryMib > total.memoryMib || wanted.cpuMillicores > total.cpuMillicores) return false;

  // The hardest to place first: by its larger share of what all rooms have.
  const shareOf = (pod: Quantity): number =>
    Math.max(pod.memoryMib / (total.memoryMib || 1), pod.cpuMillicores / (total.cpuMillicores || 1));
  const order = [...pods].sort((a, b) => shareOf(b) - shareOf(a));
  return new Search(rooms, order, maxSkew).run();
}

interface Room {
  memoryMib: number;
  cpuMillicores: number;
  pods: number;
}

class Search {
  readonly #rooms: Room[];
  readonly #order: readonly Quantity[];
  readonly #maxSkew: number;
  readonly #most: number;
  readonly #dead = new Set<string>();
  #steps = 0;

  constructor(rooms: readonly Quantity[], order: readonly Quantity[], maxSkew: number) {
    this.#rooms = rooms.map((room) => ({ ...room, pods: 0 }));
    this.#order = order;
    this.#maxSkew = maxSkew;
    // If one room holds m pods, every other holds m - maxSkew at least, and together that is no more than all pods.
    this.#most =
      maxSkew === Infinity ? Infinity : Math.floor((order.length + (rooms.length - 1) * maxSkew) / rooms.length);
  }

  run(): boolean {
    return this.#place(0);
  }

  #place(index: number): boolean {
    const pod = this.#order[index];
    if (pod === undefined) return this.#isEven();
    if (++this.#steps > MAX_STEPS) return false;
    const state = this.#state(index);
    if (this.#dead.has(state)) return false;
    const tried = new Set<string>();
    for (const room of [...this.#rooms].sort((a, b) => a.pods - b.pods)) {
      if (room.memoryMib < pod.memoryMib || room.cpuMillicores < pod.cpuMillicores || room.pods >= this.#most) continue;
      const twin = render(room);
      if (tried.has(twin)) continue;
      tried.add(twin);
      move(room, pod, -1);
      const placed = this.#place(index + 1);
      move(room, pod, 1);
      if (placed) return true;
    }
    this.#dead.add(state);
    return false;
  }

  #isEven(): boolean {
    const counts = this.#rooms.map((room) => room.pods);
    return Math.max(...counts) - Math.min(...counts) <= this.#maxSkew;
  }

  #state(index: number): string {
    return `${index}|${this.#rooms.map(render).sort().join("|")}`;
  }
}

function render(room: Room): string {
  return `${room.memoryMib},${room.cpuMillicores},${room.pods}`;
}

function move(room: Room, pod: Quantity, sign: 1 | -1): void {
  room.memoryMib += sign * pod.memoryMib;
  room.cpuMillicores += sign * pod.cpuMillicores;
  room.pods -= sign;
}
