import { Fault } from "../../core/fault.ts";
import type { PullStep } from "../library.ts";

/** One who follows a job: steps that it has not read yet. Of one file only the newest figure waits, so that a slow reader holds little. */
interface Follower {
  waiting: Map<string, PullStep>;
  wake: () => void;
}

/** A job with all its askers. */
interface Job {
  /** The newest step of each kind, in the order in which they first came: what a late asker sees first. */
  seen: Map<string, PullStep>;
  followers: Set<Follower>;
  stop: AbortController;
  ended: boolean;
  failure?: Error;
}

/** Work that is done once for all who ask for the same at the same time. An asker that leaves stops it only when it was the last. */
export class SharedJobs {
  readonly #jobs = new Map<string, Job>();

  /** Follows a job, and begins it when nobody has. @throws what the job failed with; Fault cancelled when the signal aborts */
  async *follow(
    key: string,
    signal: AbortSignal,
    work: (tell: (step: PullStep) => void, signal: AbortSignal) => Promise<void>,
  ): AsyncIterable<PullStep> {
    if (signal.aborted) throw left(signal);
    const job = this.#jobs.get(key) ?? this.#begin(key, work);
    const follower: Follower = { waiting: new Map(job.seen), wake: () => undefined };
    job.followers.add(follower);
    const leave = (): void => follower.wake();
    signal.addEventListener("abort", leave, { once: true });
    try {
      for (;;) {
        if (signal.aborted) throw left(signal);
        const [first] = follower.waiting;
        if (first !== undefined) {
          follower.waiting.delete(first[0]);
          yield first[1];
        } else if (job.ended) {
          if (job.failure !== undefined) throw job.failure;
          return;
        } else {
          await new Promise<void>((resolve) => {
            follower.wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", leave);
      job.followers.delete(follower);
      if (job.followers.size === 0 && !job.ended) {
        // Whoever asks from now on begins a job of its own, which goes on where this one ends.
        if (this.#jobs.get(key) === job) this.#jobs.delete(key);
        job.stop.abort(new Fault("cancelled", "nobody waits for it any more"));
      }
    }
  }

  /** Stops all of them. */
  close(): void {
    for (const job of this.#jobs.values()) job.stop.abort(new Fault("draining", "the engine is stopping"));
  }

  #begin(key: string, work: (tell: (step: PullStep) => void, signal: AbortSignal) => Promise<void>): Job {
    const job: Job = { seen: new Map(), followers: new Set(), stop: new AbortController(), ended: false };
    this.#jobs.set(key, job);
    const tell = (step: PullStep): void => {
      const kind = `${step.status}\n${step.digest ?? ""}`;
      for (const into of [job.seen, ...[...job.followers].map(({ waiting }) => waiting)]) into.set(kind, step);
      for (const { wake } of job.followers) wake();
    };
    void work(tell, job.stop.signal)
      .catch((error: unknown) => {
        job.failure = error instanceof Error ? error : new Error("failed");
      })
      .finally(() => {
        job.ended = true;
        if (this.#jobs.get(key) === job) this.#jobs.delete(key);
        for (const { wake } of job.followers) wake();
      });
    return job;
  }
}

function left(signal: AbortSignal): Fault {
  return new Fault("cancelled", "nobody waits for it any more", { cause: signal.reason });
}
