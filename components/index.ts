/** From a Ready cluster to a judged answer: Pulumi components for the models and for the service that asks them. */
export { ArgsError } from "./args.ts";
export type { ConversationStoreArgs } from "./ensemble/conversation-store.ts";
export type { EnsembleArgs } from "./ensemble/ensemble.ts";
export { Ensemble } from "./ensemble/ensemble.ts";
export type { Fit, Misfit, NodeCapacity, Situation, Workload } from "./ensemble/fit.ts";
export { NodeCapacitySchema, planFit, renderMisfit, roomOf, SYSTEM_RESERVE } from "./ensemble/fit.ts";
export type { OrchestratorArgs } from "./ensemble/orchestrator.ts";
export { Orchestrator } from "./ensemble/orchestrator.ts";
export type { MemberChoice, PlannedMember } from "./ensemble/plan.ts";
export { MembersSchema, workloadsOf } from "./ensemble/plan.ts";
export { ImageRefSchema, OLLAMA_IMAGE } from "./image.ts";
export type { Backend } from "./models/backend.ts";
export { BackendSchema } from "./models/backend.ts";
export type { ModelStoreArgs, StoreChoice } from "./models/model-store.ts";
export { ModelStore, NODE_STORE_PATH } from "./models/model-store.ts";
export type { ModelArgs } from "./models/model.ts";
export { Model } from "./models/model.ts";
