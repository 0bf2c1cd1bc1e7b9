const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What a day counts beside the one after it: after a week a day has half its weight. */
const DAY_WEIGHT = 0.905;

/** Days that must have been seen before anything is foretold. */
const FEWEST_DAYS = 2;

/** Share of the days, by their weight, on which a model was asked in an hour, from which it is taken to be asked again. */
const LIKELY = 0.5;

/** Whole days since 1970, and the hour of that day, UTC. */
function dayAndHour(wallMs: number): { day: number; hour: number } {
  return { day: Math.floor(wallMs / DAY_MS), hour: Math.floor((wallMs % DAY_MS) / HOUR_MS) };
}

/** One model's hours: the weight of the days on which it was asked in each, as of a day, and the last such day. */
export interface Hours {
  firstDay: number;
  hours: { weight: number; day: number }[];
}

/** At which hours of the day (UTC) models are asked. Pure: every call brings its time, ms since 1970. */
export class UsagePatterns {
  readonly #models: Map<string, Hours>;

  /** @param known of an earlier one, by model */
  constructor(known: Readonly<Record<string, Hours>> = {}) {
    this.#models = new Map(Object.entries(known));
  }

  /** What is known, by model: all that another one needs to go on. */
  models(): Record<string, Hours> {
    return Object.fromEntries(this.#models);
  }

  /** A model was asked. A day counts once for each of its hours. */
  note(name: string, wallMs: number): void {
    const { day, hour } = dayAndHour(wallMs);
    const known = this.#models.get(name) ?? {
      firstDay: day,
      hours: Array.from({ length: 24 }, () => ({ weight: 0, day })),
    };
    this.#models.set(name, known);
    const at = known.hours[hour];
    if (at === undefined || (at.weight > 0 && at.day === day)) return;
    known.hours[hour] = { weight: at.weight * DAY_WEIGHT ** (day - at.day) + 1, day };
  }

  /** Share of the days before that one on which a model was asked in that hour, 0 to 1; 0 before enough days were seen. */
  share(name: string, wallMs: number): number {
    const { day, hour } = dayAndHour(wallMs);
    const known = this.#models.get(name);
    const at = known?.hours[hour];
    if (known === undefined || at === undefined || day - known.firstDay < FEWEST_DAYS) return 0;
    let all = 0;
    for (let ago = 1; ago <= day - known.firstDay; ago++) all += DAY_WEIGHT ** ago;
    const weight = at.day === day ? at.weight - 1 : at.weight * DAY_WEIGHT ** (day - at.day);
    return Math.min(1, weight / all);
  }

  /** Models that are likely to be asked in the hour of that time. */
  likely(wallMs: number): string[] {
    return [...this.#models.keys()].filter((name) => this.share(name, wallMs) >= LIKELY);
  }

  /** Forgets a model. */
  forget(name: string): void {
    this.#models.delete(name);
  }
}

/** The end of the hour of a time, ms since 1970. */
export function endOfHour(wallMs: number): number {
  return (Math.floor(wallMs / HOUR_MS) + 1) * HOUR_MS;
}
