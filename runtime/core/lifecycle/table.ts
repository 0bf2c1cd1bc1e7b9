/** Before a model is asked for, and after all that it held is free again. The diagram's start and end. */
export const NOWHERE = "[*]";

/** States of a model in a cluster, from the wish for it to its last byte. Source: the seed's "Model Lifecycle in Kubernetes". */
export const STATES = [
  "K8s_Create",
  "Image_Pull",
  "Storage_Mount",
  "Pod_Start",
  "Engine_Init",
  "Model_Register",
  "DTE_Init",
  "Ready",
  "Serving",
  "Inference",
  "DTE_Process",
  "Response",
  "Scaling",
  "Maintenance",
  "Terminating",
  "Cleanup",
] as const;
/** A state that a model can be in; `[*]` where there is none yet, or none any more. */
export type LifecycleState = (typeof STATES)[number] | typeof NOWHERE;

/** Why a model goes from one state to the next. Source: the same diagram's edges. */
export const REASONS = [
  "Create Model CR",
  "Operator Reconciles",
  "Image Ready",
  "Storage Ready",
  "Pod Running",
  "Engine Started",
  "Model Loaded",
  "Cognitive Layer Active",
  "Health Check Pass",
  "API Requests",
  "Cognitive Processing",
  "Enhanced Response",
  "Continue Serving",
  "Load Changes",
  "Scale Complete",
  "Update Required",
  "Update Complete",
  "Delete Request",
  "Graceful Shutdown",
  "Resources Released",
] as const;
/** A reason of the diagram. */
export type LifecycleReason = (typeof REASONS)[number];

/** One edge: from a state, for a reason, to a state. */
export type Edge = readonly [from: LifecycleState, reason: LifecycleReason, to: LifecycleState];

/** The seed's own edges, in its order. */
export const SEED_EDGES: readonly Edge[] = [
  [NOWHERE, "Create Model CR", "K8s_Create"],
  ["K8s_Create", "Operator Reconciles", "Image_Pull"],
  ["Image_Pull", "Image Ready", "Storage_Mount"],
  ["Storage_Mount", "Storage Ready", "Pod_Start"],
  ["Pod_Start", "Pod Running", "Engine_Init"],
  ["Engine_Init", "Engine Started", "Model_Register"],
  ["Model_Register", "Model Loaded", "DTE_Init"],
  ["DTE_Init", "Cognitive Layer Active", "Ready"],
  ["Ready", "Health Check Pass", "Serving"],
  ["Serving", "API Requests", "Inference"],
  ["Inference", "Cognitive Processing", "DTE_Process"],
  ["DTE_Process", "Enhanced Response", "Response"],
  ["Response", "Continue Serving", "Serving"],
  ["Serving", "Load Changes", "Scaling"],
  ["Scaling", "Scale Complete", "Serving"],
  ["Serving", "Update Required", "Maintenance"],
  ["Maintenance", "Update Complete", "Serving"],
  ["Serving", "Delete Request", "Terminating"],
  ["Terminating", "Graceful Shutdown", "Cleanup"],
  ["Cleanup", "Resources Released", NOWHERE],
];

/** States in which a model is deleted at once; one that answers a request goes back to Serving first. */
const DELETABLE = [
  "K8s_Create",
  "Image_Pull",
  "Storage_Mount",
  "Pod_Start",
  "Engine_Init",
  "Model_Register",
  "DTE_Init",
  "Ready",
  "Scaling",
  "Maintenance",
] as const;

/**
 * What the seed's diagram leaves out and every cluster does, for reasons that it has: a delete (a SIGTERM) does not wait until the model serves, and a
 * request whose client goes away, or which fails, ends without its answer.
 */
export const FURTHER_EDGES: readonly Edge[] = [
  ...DELETABLE.map((from): Edge => [from, "Delete Request", "Terminating"]),
  ["Inference", "Continue Serving", "Serving"],
  ["DTE_Process", "Continue Serving", "Serving"],
];

/** Every edge that there is. From one state a reason leads to one state only. */
export const EDGES: readonly Edge[] = [...SEED_EDGES, ...FURTHER_EDGES];
