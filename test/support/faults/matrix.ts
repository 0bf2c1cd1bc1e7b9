/**
 * The faults that a model server and the network before it can have: the seven toxics of toxiproxy, then those of servers and names.
 * Source of the seven: Shopify/toxiproxy 2.12, README, "Toxics".
 */
export const FAULTS = [
  "latency",
  "bandwidth",
  "slow_close",
  "timeout",
  "reset_peer",
  "slicer",
  "limit_data",
  "refuse",
  "500",
  "503",
  "half-json",
  "wrong-model",
  "endless",
  "gzip-bomb",
  "dns",
] as const;
/** A fault of the matrix. */
export type Fault = (typeof FAULTS)[number];

/** Faults of a connection that is never made: a name without an address, a port without a server. */
export const UNREACHABLE = ["refuse", "dns"] as const satisfies readonly Fault[];
/** A fault of a connection that is never made. */
export type Unreachable = (typeof UNREACHABLE)[number];
/** A fault that strikes within a call. */
export type CallFault = Exclude<Fault, Unreachable>;

/** When a fault strikes: as the call arrives, while the model reads the prompt, or after its first words. */
export const PHASES = ["before", "prefill", "streaming"] as const;
/** When a fault strikes. */
export type Phase = (typeof PHASES)[number];

/** How long after a call's arrival the faults of the phase `prefill` strike, ms. The model behind must take longer to its first word. */
export const STRIKE_MS = 20;

/** One fault at one time. */
export type Strike = CallStrike | { fault: Unreachable; phase: "before" };
/** A fault within a call, and when. */
export interface CallStrike {
  fault: CallFault;
  phase: Phase;
}

/** Whether a strike is of a connection that is never made. */
export function isUnreachable(strike: Strike): strike is Exclude<Strike, CallStrike> {
  return strike.fault === "refuse" || strike.fault === "dns";
}

/** Every fault at every time at which it can strike: 13 by 3, and the two of no connection at all before it. */
export const STRIKES: readonly Strike[] = [
  ...FAULTS.flatMap((fault): Strike[] =>
    fault === "refuse" || fault === "dns" ? [] : PHASES.map((phase) => ({ fault, phase })),
  ),
  ...UNREACHABLE.map((fault): Strike => ({ fault, phase: "before" })),
];

/** Base address without a server: a name that no resolver takes (a label of 64 characters), or a port that nobody listens on. */
export const UNREACHABLE_URL: Readonly<Record<Unreachable, string>> = {
  dns: `http://${"x".repeat(64)}.invalid:11434`,
  // tcpmux, for root alone and served by nobody. Source: IANA's list of ports.
  refuse: "http://127.0.0.1:1",
};
