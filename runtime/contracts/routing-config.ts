import { z } from "zod";

/** A share from 0 to 1. */
const Ratio = z.number().min(0).max(1);

/** Section `routing` of the orchestrator's configuration: when one or two models are asked instead of the whole panel. */
export const RoutingConfigSchema = z.strictObject({
  /**
   * How sure the router must be before it asks only the one or two models that usually win such questions: the least that the share of like
   * questions which they won may be, with a confidence of 95 %, from 0 to 1. At 1, which no number of verdicts reaches, the whole panel is
   * always asked. With 0.7 at least seven like questions without a loss are needed, with 0.9 twenty-five.
   */
  awarenessThreshold: Ratio.default(1),
  /** Most models that a routed question is asked of. One needs no judge. */
  most: z.int().min(1).max(2).default(2),
  /** Share of the questions that could be routed and still go to the whole panel, so that it goes on learning. */
  explorationRatio: Ratio.default(0.1),
  /** Risk of a question at and above which the whole panel is always asked. */
  riskLimit: Ratio.default(0.5),
  /** Like verdicts (each counts by how like it is, 0 to 1) that must have been seen, whatever the threshold. */
  likeVerdicts: z.number().min(1).max(1_000).default(5),
  /** The rest of the panel is asked too when those asked are not done after this share of `deadlines.candidatesMs`; at once when they fail. */
  escalateAfterRatio: Ratio.default(0.5),
  /** Newest verdicts that are learned from. */
  window: z.int().min(1).max(20_000).default(2_000),
  /** File that verdicts are kept in, one JSON object a line, for this process alone. Absent: they are forgotten at its end. */
  verdictsFile: z.string().min(1).optional(),
  /** Size at which the file is set aside as `FILE.1` (the one before it goes) and a fresh one begun, bytes. */
  verdictsBytes: z.int().min(65_536).max(1_073_741_824).default(8_388_608),
  /** Whether the questions' own words are kept beside the verdicts. */
  recordQuestions: z.boolean().default(false),
});
/** Section `routing`, defaults filled in. */
export type RoutingConfig = z.output<typeof RoutingConfigSchema>;
