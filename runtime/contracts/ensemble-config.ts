import { parse, stringify } from "yaml";
import { z } from "zod";
import { AccessConfigSchema } from "./access-config.ts";
import { CacheConfigSchema } from "./cache-config.ts";
import { HornConfigSchema } from "./horn-config.ts";
import { RedisConfigSchema } from "./redis-config.ts";
import { TracesConfigSchema } from "./traces-config.ts";
import { StoreSchema } from "./store-config.ts";
import { RoutingConfigSchema } from "./routing-config.ts";

/** What a member does for the ensemble. */
export const MemberRole = z.enum(["rewriter", "candidate", "judge"]);
/** What a member does for the ensemble. */
export type MemberRole = z.output<typeof MemberRole>;

/** Wire dialect that a member's server speaks. */
export const MemberApi = z.enum(["ollama", "openai"]);
/** Wire dialect that a member's server speaks. */
export type MemberApi = z.output<typeof MemberApi>;

/** DNS label: members are named in metrics, logs and errors. */
const MemberName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "want 1 to 63 of a-z, 0-9 and -, such as qwen-small");

/** Base address of a server, without a trailing slash. */
const BaseUrl = z
  .url({ protocol: /^https?$/, error: "want an http or https URL such as http://llama:11434" })
  .transform((url) => url.replace(/\/+$/, ""));

/** One model server that takes part in the ensemble. */
export const MemberSchema = z.strictObject({
  /** Name in metrics, logs, stages and errors; unique. */
  name: MemberName,
  role: MemberRole,
  /** Where its API listens, such as `http://llama:11434` (no path for `ollama`; `…/v1` is added for `openai`). */
  url: BaseUrl,
  /**
   * Address of the same server whose name stands for all its pods, such as `http://llama-pods:11434` of a headless Service: each call goes to
   * one pod, to another where one is down, and to the same one for what that one has read. While the name stands for none, calls go to `url`.
   * Absent: all calls go to `url`.
   */
  podsUrl: BaseUrl.optional(),
  api: MemberApi.default("ollama"),
  /** Model to ask it for, such as `llama3.2:1b`. */
  model: z.string().min(1).max(256),
  /**
   * Context window asked for, tokens. Ollama's own default (4096 at 0.17) cuts a judge's prompt in silence (ollama#3839). A server with `api: openai`, or one
   * that is set up with less, may have a smaller window than this, and no answer tells: the prompt's count is taken after the cut (about half of the
   * window, ollama#17427), older servers leave out what was cached (ollama#2068), and the estimate of a prompt here is from above. Set what the server has.
   */
  numCtx: z.int().min(256).max(1_048_576).default(4096),
  /** Threads of the model server. Ollama counts the host's cores and not the CPU limit (ollama#17916), so the limit says it. Absent: the server's choice. */
  numThread: z.int().min(1).max(1024).optional(),
  /** Longest answer, tokens. */
  maxTokens: z.int().min(1).max(131_072).default(512),
  /** Which words a candidate gets: the user's own, or the rewriter's. Only the second waits for the rewrite. */
  prompt: z.enum(["raw", "rewritten"]).default("raw"),
  /** Environment variable that holds the bearer token of this server. Never the token itself. */
  apiKeyEnv: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, "want the name of an environment variable such as JUDGE_API_KEY")
    .optional(),
});
/** One model server that takes part in the ensemble, defaults filled in. */
export type Member = z.output<typeof MemberSchema>;

const Millis = z.int().min(1).max(3_600_000);

/** How long each stage may take, milliseconds. A stage that passes its deadline is cancelled upstream. */
export const DeadlinesSchema = z
  .strictObject({
    /** Opening a connection to a member. */
    connectMs: Millis.default(2_000),
    /** Opening a connection to one of several pods; another is asked after it. Within a cluster it takes some ms, and a lost packet 1000 ms. */
    podConnectMs: Millis.default(250),
    /**
     * Silence of a server within a call after which it is asked for a sign of life; if none comes within healthMs, the call is broken off as
     * if its connection had broken. A server that is only slow gives one. 0: it is never asked, and only the stage's deadline ends the call.
     */
    silenceMs: z.int().min(0).max(3_600_000).default(1_000),
    /** The rewrite; after it the rewritten prompt is the user's own words. */
    rewriteMs: Millis.default(20_000),
    /** All candidates; whoever has not answered by then is dropped. */
    candidatesMs: Millis.default(120_000),
    /** The verdict; after it the stated rule decides. */
    judgeMs: Millis.default(60_000),
    /** The whole question. */
    totalMs: Millis.default(180_000),
    /** Asking a member whether it can answer, for `/readyz`. */
    healthMs: Millis.default(2_000),
  })
  .refine((d) => d.totalMs >= Math.max(d.rewriteMs, d.candidatesMs, d.judgeMs), {
    path: ["totalMs"],
    message: "want at least the longest of rewriteMs, candidatesMs and judgeMs",
  });
/** How long each stage may take, milliseconds. */
export type Deadlines = z.output<typeof DeadlinesSchema>;

/** The configuration file of the orchestrator: `serve --config FILE`, YAML or JSON. */
export const EnsembleConfigSchema = z
  .strictObject({
    /** Model name under which the whole ensemble answers on the Ollama and OpenAI APIs. */
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9._-]*(:[a-zA-Z0-9._-]+)?$/, "want family:tag such as gorkheavy:latest")
      .default("gorkheavy:latest"),
    members: z.array(MemberSchema).min(1),
    deadlines: DeadlinesSchema.prefault({}),
    /** Candidates that must be able to answer before `/readyz` says yes, and that must have answered for a reply. */
    quorum: z.int().min(1).default(1),
    memory: z
      .strictObject({
        /**
         * Turns (question and answer) of a conversation that models and judge are shown: at least so many, up to three more, so that what is shown begins
         * anew only with every fourth question and a model need not read it again in between. Fewer where a context window has no room. 0 switches memory off.
         */
        turns: z.int().min(0).max(100).default(5),
        /** Conversations kept in the process; the one not used for longest goes first. */
        conversations: z.int().min(1).max(1_000_000).default(1_000),
      })
      .prefault({}),
    store: StoreSchema.prefault({}),
    listen: z
      .strictObject({
        /** Address to listen on; `--host` on the command line wins. Others than loopback only on purpose. */
        host: z.string().min(1).default("127.0.0.1"),
        port: z.int().min(0).max(65_535).default(8080),
      })
      .prefault({}),
    /** How long the last candidates are waited for once two others (or the quorum, if larger) have answered. */
    patience: z
      .strictObject({
        /** At least so long, ms. */
        leastMs: Millis.default(3_000),
        /** And at least so many times what the others took. */
        ratio: z.number().min(0).max(100).default(1),
      })
      .prefault({}),
    judging: z
      .strictObject({
        /** The judge gives each answer five scores beside its choice; some sixty tokens instead of a few. */
        scores: z.boolean().default(true),
        /**
         * The judge reads answers while others are still written, in the order in which they are finished. Off: it reads them all at the end,
         * in random order. Labels are random either way.
         */
        overlap: z.boolean().default(true),
      })
      .prefault({}),
    /** When a second call is made beside one that is slower than usual to its first word. */
    hedge: z
      .strictObject({
        /** Percentile of the member's own times after which a call counts as slow. */
        percentile: z.number().min(50).max(99.9).default(95),
        /** Most extra calls, as a share of a member's calls. 0 switches it off. */
        budgetRatio: z.number().min(0).max(1).default(0.05),
        /** Answers that must have been seen first. */
        samples: z.int().min(1).max(200).default(20),
      })
      .prefault({}),
    /** When one or two models are asked instead of the whole panel. */
    routing: RoutingConfigSchema.prefault({}),
    /** When a member is left alone. */
    breaker: z
      .strictObject({
        /** Failures in a row. */
        failures: z.int().min(1).max(1_000).default(5),
        /** First time, ms; each further one is twice as long. */
        openMs: Millis.default(1_000),
        /** Longest time, ms. */
        longestMs: Millis.default(30_000),
      })
      .prefault({}),
    /** Who may ask. */
    access: AccessConfigSchema.prefault({}),
    /** Answers kept for the same question. */
    cache: CacheConfigSchema.prefault({}),
    /** One trace a question. */
    traces: TracesConfigSchema.prefault({}),
    /** A Redis that limits and exact answers are shared by. Absent: each replica has its own. */
    redis: RedisConfigSchema.optional(),
    /** The WebSocket `/horn`. */
    horn: HornConfigSchema.prefault({}),
    limits: z
      .strictObject({
        /** Largest request body, bytes. */
        bodyBytes: z.int().min(1024).max(1_073_741_824).default(4_194_304),
        /** Questions worked on at once; more get 503 with Retry-After. */
        concurrent: z.int().min(1).max(100_000).default(64),
        /** Calls passed to one member's server at once, beside the questions; more get 503 with Retry-After. */
        passed: z.int().min(1).max(100_000).default(1_024),
        /** Longest answer kept from one member, bytes; it is cut there and the member cancelled. */
        answerBytes: z.int().min(1024).max(67_108_864).default(1_048_576),
        /** How long a client may take to send the head of its request, ms; 408 after it. */
        headMs: Millis.default(15_000),
        /** How long a client may take to send its whole request, ms; 408 after it. */
        requestMs: Millis.default(60_000),
      })
      .refine((limits) => limits.headMs <= limits.requestMs, {
        path: ["headMs"],
        message: "want at most requestMs",
      })
      .prefault({}),
  })
  .superRefine((config, ctx) => {
    const seen = new Map<string, number>();
    config.members.forEach((member, index) => {
      const before = seen.get(member.name);
      if (before !== undefined) {
        ctx.addIssue({ code: "custom", path: ["members", index, "name"], message: `same name as members[${before}]` });
      }
      seen.set(member.name, index);
    });
    const count = (role: MemberRole): number => config.members.filter((m) => m.role === role).length;
    for (const role of ["rewriter", "judge"] as const) {
      if (count(role) > 1) {
        ctx.addIssue({
          code: "custom",
          path: ["members"],
          message: `got ${count(role)} members with role ${role}, want at most 1`,
        });
      }
    }
    if (count("candidate") < config.quorum) {
      ctx.addIssue({
        code: "custom",
        path: ["quorum"],
        message: `got ${config.quorum} with ${count("candidate")} candidates, want at most the number of candidates and at least one candidate`,
      });
    }
  });
/** The orchestrator's configuration, defaults filled in. */
export type EnsembleConfig = z.output<typeof EnsembleConfigSchema>;
/** The orchestrator's configuration as people write it. */
export type EnsembleConfigInput = z.input<typeof EnsembleConfigSchema>;

/** A configuration file that cannot be used; the message lists every bad field. */
export class EnsembleConfigError extends Error {
  override readonly name = "EnsembleConfigError";
}

/**
 * Reads the configuration file's text, YAML or JSON.
 * @param source what the text came from, for the message.
 * @throws EnsembleConfigError naming every bad field.
 */
export function parseEnsembleConfig(text: string, source = "ensemble configuration"): EnsembleConfig {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (cause) {
    throw new EnsembleConfigError(
      `${source}: neither YAML nor JSON: ${cause instanceof Error ? cause.message : "unreadable"}`,
      {
        cause,
      },
    );
  }
  const parsed = EnsembleConfigSchema.safeParse(raw);
  if (!parsed.success) throw new EnsembleConfigError(`${source}:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** The configuration file's text for a ConfigMap: YAML, checked, defaults written out. @throws EnsembleConfigError */
export function renderEnsembleConfig(config: EnsembleConfigInput): string {
  const parsed = EnsembleConfigSchema.safeParse(config);
  if (!parsed.success) throw new EnsembleConfigError(`ensemble configuration:\n${z.prettifyError(parsed.error)}`);
  return stringify(parsed.data, { aliasDuplicateObjects: false });
}
