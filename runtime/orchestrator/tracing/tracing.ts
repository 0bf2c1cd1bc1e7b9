import { AsyncLocalStorage } from "node:async_hooks";
import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { Resource } from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { AskAnswer } from "../../contracts/native.ts";
import { toFault } from "../../core/fault.ts";
import type { Watch } from "../../core/pipeline.ts";
import type { ModelCall, Piece } from "../../core/ports.ts";
import type { Tracing } from "./port.ts";

/** Time for the collector to take what is left at the end, ms. */
const FLUSH_MS = 5_000;

/** Spans of one question that are open now. */
interface Open {
  root: Span;
  context: Context;
  /** Stages by member, the newest last. */
  stages: { member: string; kind: string; span: Span }[];
}

/** Traces to a collector. Only ids, names, numbers and codes are written; words of people and models only where `prompts` says so. */
export class OtlpTracing implements Tracing {
  readonly #provider: BasicTracerProvider;
  readonly #prompts: boolean;
  readonly #open = new AsyncLocalStorage<Open>();

  constructor(endpoint: string, prompts: boolean) {
    this.#prompts = prompts;
    this.#provider = new BasicTracerProvider({
      resource: new Resource({ "service.name": "gorkheavy-orchestrator" }),
      spanProcessors: [
        new BatchSpanProcessor(new OTLPTraceExporter({ url: `${endpoint}/v1/traces` }), {
          scheduledDelayMillis: 1_000,
        }),
      ],
    });
  }

  async question(
    traceparent: string | undefined,
    text: string,
    watch: Watch | undefined,
    work: (watch: Watch) => Promise<AskAnswer>,
  ): Promise<AskAnswer> {
    const tracer = this.#provider.getTracer("gorkheavy");
    const root = tracer.startSpan("question", { kind: SpanKind.SERVER }, contextOf(traceparent));
    if (this.#prompts) root.setAttribute("gorkheavy.question", text);
    const open: Open = { root, context: trace.setSpan(ROOT_CONTEXT, root), stages: [] };
    try {
      const answer = await this.#open.run(open, () =>
        work((event) => {
          this.#seen(open, event);
          watch?.(event);
        }),
      );
      root.setAttributes({
        "gorkheavy.winner": answer.decision.winner,
        "gorkheavy.decided_by": answer.decision.by,
        "gorkheavy.cached": answer.cached !== undefined,
        "gorkheavy.remembered": answer.remembered,
      });
      if (this.#prompts) root.setAttribute("gorkheavy.reply", answer.reply);
      return answer;
    } catch (error) {
      failed(root, error);
      throw error;
    } finally {
      for (const { span } of open.stages) span.end();
      root.end();
    }
  }

  async *call(call: ModelCall, work: (headers: Record<string, string>) => AsyncIterable<Piece>): AsyncIterable<Piece> {
    const open = this.#open.getStore();
    if (open === undefined) {
      yield* work({});
      return;
    }
    const { name, model } = call.member;
    const stage = open.stages.findLast(({ member }) => member === name);
    const parent = stage === undefined ? open.context : trace.setSpan(ROOT_CONTEXT, stage.span);
    const attributes = { "gorkheavy.member": name, "gen_ai.request.model": model };
    const span = this.#provider.getTracer("gorkheavy").startSpan("call", { kind: SpanKind.CLIENT, attributes }, parent);
    const { traceId, spanId } = span.spanContext();
    let ended = false;
    try {
      let first = true;
      for await (const piece of work({ traceparent: `00-${traceId}-${spanId}-01` })) {
        if (first && piece.text !== "") {
          first = false;
          span.addEvent("first token");
        }
        if (piece.done !== undefined) {
          const { promptTokens, answerTokens } = piece.done;
          if (promptTokens !== undefined) span.setAttribute("gen_ai.usage.input_tokens", promptTokens);
          if (answerTokens !== undefined) span.setAttribute("gen_ai.usage.output_tokens", answerTokens);
          ended = true;
        }
        yield piece;
      }
      ended = true;
    } catch (error) {
      ended = true;
      failed(span, error);
      throw error;
    } finally {
      // Whoever reads no further has let go of the call: a loser, or one that was cancelled.
      if (!ended) span.setAttribute("gorkheavy.cancelled", true);
      span.end();
    }
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const open = this.#open.getStore();
    if (open === undefined) return work();
    const span = this.#provider.getTracer("gorkheavy").startSpan(name, {}, open.context);
    try {
      return await work();
    } catch (error) {
      failed(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_MS);
    });
    await Promise.race([this.#provider.shutdown().catch(() => undefined), late]);
    clearTimeout(timer);
  }

  /** Opens and closes the stages' spans. */
  #seen(open: Open, event: Parameters<Watch>[0]): void {
    if (event.event === "stage-start") {
      const { stage: kind, member, model } = event;
      const attributes = { "gorkheavy.member": member, "gen_ai.request.model": model };
      const span = this.#provider.getTracer("gorkheavy").startSpan(kind, { attributes }, open.context);
      open.stages.push({ member, kind, span });
    }
    if (event.event !== "stage-end") return;
    const { stage } = event;
    const at = open.stages.findIndex(({ member, kind }) => member === stage.member && kind === stage.stage);
    const [found] = at === -1 ? [] : open.stages.splice(at, 1);
    if (found === undefined) return;
    found.span.setAttributes({
      "gorkheavy.status": stage.status,
      "gorkheavy.attempts": stage.attempts,
      "gorkheavy.hedged": stage.hedged ?? false,
    });
    if (stage.code !== undefined) found.span.setStatus({ code: SpanStatusCode.ERROR, message: stage.code });
    if (this.#prompts) found.span.setAttribute("gorkheavy.text", stage.text);
    found.span.end();
  }
}

/** The client's trace to go on with; only its ids are taken. Source: W3C Trace Context, 3.2. */
function contextOf(traceparent: string | undefined): Context {
  const parts = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent ?? "");
  const [, traceId = "", spanId = ""] = parts ?? [];
  if (parts === null || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
}

/** Marks a span as failed, by the fault's code alone: a message may quote what was asked. */
function failed(span: Span, error: unknown): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message: toFault(error).code });
}
