import type * as k8s from "@pulumi/kubernetes";
import { z } from "zod";
import type { Profile, ProbeTiming } from "../../runtime/contracts/index.ts";
import { ProbeTimingSchema } from "../../runtime/contracts/index.ts";

type Probe = k8s.types.input.core.v1.Probe;

const ChangesSchema = ProbeTimingSchema.partial();

/** What may differ from the profile's probes; `startup` makes one where the profile has none. */
export const ProbesSchema = z.strictObject({
  liveness: ChangesSchema.optional(),
  readiness: ChangesSchema.optional(),
  startup: ChangesSchema.optional(),
});

/** What may differ from the profile's probes, each field for itself. */
export interface ProbeChoice {
  /** Restarts a pod whose server no longer answers. @default - the profile's */
  liveness?: Partial<ProbeTiming>;
  /** Takes a pod out of its Service. @default - the profile's */
  readiness?: Partial<ProbeTiming>;
  /** Holds the others back until it has been true once; in the seed's profile there is none unless it is given. @default - the profile's */
  startup?: Partial<ProbeTiming>;
}

/** The probes that a container gets, without how they ask. */
export interface Probes {
  liveness: ProbeTiming;
  readiness: ProbeTiming;
  startup: ProbeTiming | undefined;
}

/** Pure: the profile's probes with the choice's own figures. */
export function probesOf(profile: Profile, choice: z.output<typeof ProbesSchema> = {}): Probes {
  const startup = profile.startup ?? (choice.startup === undefined ? undefined : profile.liveness);
  return {
    liveness: merge(profile.liveness, choice.liveness),
    readiness: merge(profile.readiness, choice.readiness),
    startup: startup === undefined ? undefined : merge(startup, choice.startup),
  };
}

function merge(timing: ProbeTiming, changes: z.output<typeof ChangesSchema> = {}): ProbeTiming {
  return {
    path: changes.path ?? timing.path,
    initialDelaySeconds: changes.initialDelaySeconds ?? timing.initialDelaySeconds,
    periodSeconds: changes.periodSeconds ?? timing.periodSeconds,
    failureThreshold: changes.failureThreshold ?? timing.failureThreshold,
    timeoutSeconds: changes.timeoutSeconds ?? timing.timeoutSeconds,
  };
}

/** Asks by HTTP. @param path instead of the timing's own, for a server that has other paths */
export function httpProbe(timing: ProbeTiming, port: number, path = timing.path): Probe {
  return { httpGet: { path, port, scheme: "HTTP" }, ...timingOf(timing) };
}

/** Asks by a command in the container, which may take long. @param timeoutSeconds shortest time that it gets */
export function execProbe(timing: ProbeTiming, command: string[], timeoutSeconds: number): Probe {
  return {
    exec: { command },
    ...timingOf({ ...timing, timeoutSeconds: Math.max(timing.timeoutSeconds, timeoutSeconds) }),
  };
}

function timingOf({ initialDelaySeconds, periodSeconds, failureThreshold, timeoutSeconds }: ProbeTiming): Probe {
  return { initialDelaySeconds, periodSeconds, failureThreshold, timeoutSeconds };
}
