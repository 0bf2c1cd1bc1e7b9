/** Where one copy of a model stands. */
export type Phase = "absent" | "loading" | "ready" | "unloading";

/** One copy of a model's weights, in memory or wished for. A name has a second one while it is swapped. All times are on the clock of `now`, ms. */
export interface Copy {
  /** Unlike any other's; later ones have higher ones. */
  readonly id: number;
  readonly name: string;
  phase: Phase;
  /** Memory that it takes or would take. */
  bytes: number;
  /** Generations running on it. */
  inFlight: number;
  /** Since when somebody waits for it. Absent: nobody does. */
  askedSinceMs?: number | undefined;
  /** The engine wants it without being asked: at its start, after a loss, by prediction, for a swap. Never takes memory from others. */
  wanted: boolean;
  /** Not loaded before, after a failure. */
  notBeforeMs: number;
  readySinceMs: number;
  lastTokenMs: number;
  /** Time from the last token to being let go; `Infinity` is for ever. */
  keepAliveMs: number;
  /** Not let go for being idle before. */
  heldUntilMs: number;
  /** Another has taken its place: it goes as soon as nothing runs on it. */
  retired: boolean;
  /** The copy whose place it takes when it is ready. */
  replaces?: number;
}

/** What the memory may be used for. */
export interface Rules {
  budgetBytes: number;
  /** A model that was loaded stays at least so long before it makes room for another, ms. */
  dwellMs: number;
  /** Who has waited so long makes busy models give way, ms: they take nothing new, end what runs and make room. */
  fairnessMs: number;
  /** Whether a new version replaces an old one where there is no room for both: the old one ends what runs and is unloaded first. */
  replaceWithoutRoom: boolean;
}

/** Why a model is let go. */
export type UnloadReason = "idle" | "replaced" | "room" | "over budget";

/** What is to be done now. */
export interface Plan {
  load: number[];
  unload: { id: number; why: UnloadReason }[];
  /** Copies that take no new request, since who waited too long needs their memory. */
  closed: Set<number>;
  /** Copies that can never be loaded under these rules. */
  refused: number[];
  /** Swaps for whose two copies there is no room: the old copy is retired before the new one is loaded. */
  replaceFirst: number[];
  /** Wanted copies that nobody waits for and for which there is no room. */
  noRoom: number[];
  /** When to look again though nothing has happened, ms; `Infinity`: never. */
  lookAgainMs: number;
}

/** Decides who is loaded and who is let go. Pure: the same copies, rules and time give the same plan. */
export function planFor(copies: readonly Copy[], rules: Rules, nowMs: number): Plan {
  const plan: Plan = {
    load: [],
    unload: [],
    closed: new Set(),
    refused: [],
    replaceFirst: [],
    noRoom: [],
    lookAgainMs: Number.POSITIVE_INFINITY,
  };
  new Planner(copies, rules, nowMs, plan).run();
  return plan;
}

class Planner {
  readonly #copies: readonly Copy[];
  readonly #rules: Rules;
  readonly #nowMs: number;
  readonly #plan: Plan;
  /** Memory that nobody has. Below 0 where loads took more than was foreseen. */
  #spare: number;
  /** Memory that comes back by itself: of copies that are being unloaded, or go when what runs on them has ended. */
  #coming: number;
  readonly #leaving = new Set<number>();

  constructor(copies: readonly Copy[], rules: Rules, nowMs: number, plan: Plan) {
    this.#copies = copies;
    this.#rules = rules;
    this.#nowMs = nowMs;
    this.#plan = plan;
    this.#spare = rules.budgetBytes - sum(copies.filter(({ phase }) => phase !== "absent"));
    this.#coming = sum(copies.filter(({ phase, retired }) => phase === "unloading" || (phase === "ready" && retired)));
  }

  run(): void {
    this.#letGo();
    this.#fill();
    if (this.#spare + this.#coming < 0) this.#shrink();
  }

  /** Who is no longer needed. */
  #letGo(): void {
    for (const copy of this.#copies) {
      if (copy.phase !== "ready" || copy.inFlight > 0) continue;
      if (copy.retired) {
        this.#plan.unload.push({ id: copy.id, why: "replaced" });
        this.#leaving.add(copy.id);
        continue;
      }
      const dueMs = Math.max(copy.lastTokenMs + copy.keepAliveMs, copy.heldUntilMs);
      if (copy.askedSinceMs !== undefined) continue;
      if (this.#nowMs >= dueMs) this.#unload(copy, "idle");
      else this.#lookAgain(dueMs);
    }
  }

  /** Who comes in: those that somebody waits for by the time they wait, then those that the engine wants. */
  #fill(): void {
    const wishes = this.#copies.filter(
      ({ phase, askedSinceMs, wanted }) => phase === "absent" && (askedSinceMs !== undefined || wanted),
    );
    const order = (copy: Copy): number => copy.askedSinceMs ?? Number.POSITIVE_INFINITY;
    const queue = wishes
      .filter(({ notBeforeMs }) => notBeforeMs <= this.#nowMs || this.#lookAgain(notBeforeMs))
      .toSorted((a, b) => (order(a) === order(b) ? a.id - b.id : order(a) - order(b)));
    // Once one has to wait for memory, what is left after it has come in is all that those behind it may take.
    let left = Number.POSITIVE_INFINITY;
    for (const copy of queue) {
      if (copy.bytes > this.#rules.budgetBytes) {
        this.#plan.refused.push(copy.id);
      } else if (copy.bytes <= Math.min(this.#spare, left)) {
        this.#plan.load.push(copy.id);
        this.#spare -= copy.bytes;
        left -= copy.bytes;
      } else if (left === Number.POSITIVE_INFINITY && mayTakeRoom(copy)) {
        left = this.#makeRoom(copy);
      } else if (!mayTakeRoom(copy) && !this.#copies.some(({ phase }) => phase === "loading")) {
        this.#plan.noRoom.push(copy.id);
      }
    }
  }

  /** Lets others go for one that waits. @returns memory that is left when it has come in; 0 while it is not known who goes */
  #makeRoom(copy: Copy): number {
    const missing = copy.bytes - this.#spare - this.#coming;
    if (missing <= 0) return -missing;
    const others = this.#copies.filter(
      ({ id, phase, retired }) => phase === "ready" && !retired && !this.#leaving.has(id) && id !== copy.replaces,
    );
    const ripe = others.filter((other) => this.#ripe(other));
    const idle = ripe.filter(({ inFlight }) => inFlight === 0).toSorted((a, b) => a.lastTokenMs - b.lastTokenMs);
    const enough = smallest(idle, missing);
    if (enough !== undefined) {
      for (const one of enough) this.#unload(one, "room");
      return sum(enough) - missing;
    }
    if (copy.replaces !== undefined) {
      const list = this.#rules.replaceWithoutRoom ? this.#plan.replaceFirst : this.#plan.refused;
      list.push(copy.id);
      return 0;
    }
    const patienceMs = (copy.askedSinceMs ?? this.#nowMs) + this.#rules.fairnessMs;
    if (this.#nowMs < patienceMs) {
      this.#lookAgain(patienceMs);
      for (const other of others) this.#ripe(other);
      return 0;
    }
    // Of the busy ones the one that has been there longest, so that the choice stays the same until it is carried out.
    const busy = ripe.filter(({ inFlight }) => inFlight > 0).toSorted((a, b) => a.readySinceMs - b.readySinceMs);
    const chosen = smallest([...idle, ...busy], missing);
    if (chosen === undefined) return 0;
    for (const one of chosen) {
      if (one.inFlight === 0) this.#unload(one, "room");
      else this.#plan.closed.add(one.id);
    }
    return sum(chosen) - missing;
  }

  /** Loads took more than was foreseen: the least recently used go, as far as they are idle. */
  #shrink(): void {
    const idle = this.#copies
      .filter(
        ({ id, phase, inFlight, retired }) => phase === "ready" && inFlight === 0 && !retired && !this.#leaving.has(id),
      )
      .toSorted((a, b) => a.lastTokenMs - b.lastTokenMs);
    for (const one of idle) {
      if (this.#spare + this.#coming >= 0) return;
      this.#unload(one, "over budget");
    }
  }

  /** Whether a model has been there for its minimum; if not, it is looked at again then. */
  #ripe(copy: Copy): boolean {
    const dueMs = copy.readySinceMs + this.#rules.dwellMs;
    if (this.#nowMs >= dueMs) return true;
    this.#lookAgain(dueMs);
    return false;
  }

  #unload(copy: Copy, why: UnloadReason): void {
    this.#plan.unload.push({ id: copy.id, why });
    this.#leaving.add(copy.id);
    this.#coming += copy.bytes;
  }

  #lookAgain(ms: number): false {
    this.#plan.lookAgainMs = Math.min(this.#plan.lookAgainMs, ms);
    return false;
  }
}

/** Only who is waited for, and a new version of what is in memory, may take memory from others. */
function mayTakeRoom(copy: Copy): boolean {
  return copy.askedSinceMs !== undefined || copy.replaces !== undefined;
}

/** The first of them that together have so many bytes, without those that turn out not to be needed; undefined when all do not. */
function smallest(copies: readonly Copy[], bytes: number): Copy[] | undefined {
  const chosen: Copy[] = [];
  let found = 0;
  for (const copy of copies) {
    if (found >= bytes) break;
    chosen.push(copy);
    found += copy.bytes;
  }
  if (found < bytes) return undefined;
  // A large one at the end may make small ones before it needless.
  for (const copy of [...chosen]) {
    if (found - copy.bytes < bytes) continue;
    found -= copy.bytes;
    chosen.splice(chosen.indexOf(copy), 1);
  }
  return chosen;
}

function sum(copies: readonly Copy[]): number {
  return copies.reduce((total, { bytes }) => total + bytes, 0);
}
