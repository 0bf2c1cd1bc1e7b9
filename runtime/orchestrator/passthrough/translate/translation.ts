import { StringDecoder } from "node:string_decoder";
import type { z } from "zod";
import { Fault } from "../../../core/fault.ts";
import { conforming, parseJson } from "../../../support/http.ts";

/** A request in the dialect of the member's server, and the way back. */
export interface Translation {
  /** Path at the member's server, below its base address. */
  path: string;
  body: Buffer;
  /** Whether the client wants a stream. */
  stream: boolean;
  answer: AnswerTranslation;
}

/** How an answer of the member's server is written in the client's dialect. */
export interface AnswerTranslation {
  /** Of a stream. */
  contentType: string;
  /** A whole answer. @throws Fault model_bad_answer */
  whole(document: unknown): unknown;
  /** One document of a stream, framed; empty when there is nothing to tell yet. @throws Fault model_bad_answer, model_failed for an error in the stream */
  piece(document: unknown): string;
  /** What ends the stream, framed; undefined when it was not whole. */
  end(): string | undefined;
}

/** Longest line taken from a server, UTF-16 units. Source: the same limit as in support/lines.ts. */
const LONGEST_LINE = 4 * 1024 * 1024;

/** The JSON documents of an event stream or of JSON lines, from any cut of its bytes. */
export class Documents {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";

  /** Documents that are whole by now. @throws Fault model_bad_answer */
  push(chunk: Buffer): unknown[] {
    this.#rest += this.#decoder.write(chunk);
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > LONGEST_LINE) throw bad("a line without an end");
    return lines.flatMap((line) => this.#read(line));
  }

  /** The document that no line's end followed. @throws Fault model_bad_answer */
  end(): unknown[] {
    const rest = this.#rest;
    this.#rest = "";
    return this.#read(rest);
  }

  #read(line: string): unknown[] {
    const text = line.startsWith("data:") ? line.slice(5).trim() : line.trim();
    if (text === "" || text === "[DONE]" || /^(event|id|retry)?:/.test(text)) return [];
    try {
      return [JSON.parse(text)];
    } catch {
      throw bad("a line that is no JSON");
    }
  }
}

/** The request that a client wrote. @throws Fault invalid_request */
export function parsed<S extends z.ZodType>(bytes: Buffer, schema: S): z.output<S> {
  return conforming(parseJson(bytes.toString("utf8")), schema);
}

/** The fault of an answer that is not of its API. */
export function bad(what: string): Fault {
  return new Fault("model_bad_answer", `the member's server sent ${what}`);
}

/** A tool call as both dialects have it, arguments as an object. */
export interface ToolCall {
  id: string;
  name: string;
  arguments: unknown;
}

/** JSON of a model's own making; it stays a text where it is none. */
export function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text === "" ? "{}" : text);
  } catch {
    return text;
  }
}

/** A field where it says something. */
export function given<K extends string, V>(key: K, value: V | null | undefined): { [key in K]?: V } {
  return value === undefined || value === null ? {} : ({ [key]: value } as { [key in K]: V });
}
