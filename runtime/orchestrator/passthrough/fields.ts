import { Fault } from "../../core/fault.ts";

/** What a JSON value is, by its first byte. */
export type Kind = "string" | "number" | "boolean" | "null" | "array" | "object";

/** One field of a JSON object: where its value stands in the bytes. */
export interface Field {
  key: string;
  kind: Kind;
  /** First byte of the value. */
  start: number;
  /** Byte after the value. */
  end: number;
}

/** Deepest nesting that is let through. Source: the same limit as for bodies that are parsed, support/http.ts. */
const DEEPEST = 64;

/** Bytes of a string looked at one by one before the rest is searched at once; a call of `indexOf` costs about as much. */
const NEAR = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/**
 * The fields of the JSON object that begins at `from`, without parsing their values: a body of 200 KB is mostly one long string, which is
 * skipped at memory speed. What stands inside nested values is not checked beyond its brackets; its reader does that.
 * @param bytes UTF-8.
 * @param whole whether nothing but blanks may follow the object.
 * @throws Fault invalid_request: no object, cut short, or too deep
 */
export function fieldsOf(bytes: Buffer, from = 0, whole = true): Field[] {
  const fields: Field[] = [];
  let at = skipBlanks(bytes, from);
  if (bytes[at] !== OPEN_BRACE) throw notJson(bytes.length === 0 ? "empty, want JSON" : "want a JSON object");
  at = skipBlanks(bytes, at + 1);
  if (bytes[at] === CLOSE_BRACE) at++;
  else {
    for (;;) {
      if (bytes[at] !== QUOTE) throw notJson();
      const keyEnd = stringEnd(bytes, at);
      const key = textAt(bytes, at, keyEnd);
      at = skipBlanks(bytes, keyEnd);
      if (bytes[at] !== COLON) throw notJson();
      const start = skipBlanks(bytes, at + 1);
      const kind = kindAt(bytes, start);
      const end = valueEnd(bytes, start, kind);
      fields.push({ key, kind, start, end });
      at = skipBlanks(bytes, end);
      const next = bytes[at++];
      if (next === CLOSE_BRACE) break;
      if (next !== COMMA) throw notJson();
      at = skipBlanks(bytes, at);
    }
  }
  if (whole && skipBlanks(bytes, at) !== bytes.length) throw notJson();
  return fields;
}

/** The text of a JSON string that stands at these bytes, quotes included. @throws Fault invalid_request */
export function textAt(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString("utf8", start, end);
  if (!raw.includes("\\")) return raw.slice(1, -1);
  try {
    return String(JSON.parse(raw));
  } catch (cause) {
    throw new Fault("invalid_request", "body: not JSON", { cause });
  }
}

function notJson(what = "not JSON"): Fault {
  return new Fault("invalid_request", `body: ${what}`);
}

function skipBlanks(bytes: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at++;
  }
}

function kindAt(bytes: Buffer, at: number): Kind {
  const byte = bytes[at];
  if (byte === QUOTE) return "string";
  if (byte === OPEN_BRACE) return "object";
  if (byte === OPEN_BRACKET) return "array";
  if (byte === 0x74 || byte === 0x66) return "boolean";
  if (byte === 0x6e) return "null";
  if (byte === 0x2d || (byte !== undefined && byte >= 0x30 && byte <= 0x39)) return "number";
  throw notJson();
}

function valueEnd(bytes: Buffer, start: number, kind: Kind): number {
  if (kind === "string") return stringEnd(bytes, start);
  if (kind === "object" || kind === "array") return nestedEnd(bytes, start);
  let at = start;
  for (; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === COMMA || byte === CLOSE_BRACE || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09)
      break;
  }
  const literal = bytes.toString("latin1", start, at);
  const ok =
    kind === "number"
      ? /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(literal)
      : literal === "null" || literal === "true" || literal === "false";
  if (!ok) throw notJson();
  return at;
}

/** Byte after the closing quote of the string that opens at `open`. */
function stringEnd(bytes: Buffer, open: number): number {
  const { length } = bytes;
  let at = open + 1;
  for (;;) {
    const near = Math.min(length, at + NEAR);
    for (; at < near; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) return at + 1;
      if (byte === BACKSLASH) at++;
    }
    if (at >= length) throw notJson("not JSON, a string does not end");
    const quote = bytes.indexOf(QUOTE, at);
    if (quote === -1) throw notJson("not JSON, a string does not end");
    let before = quote;
    while (before > at && bytes[before - 1] === BACKSLASH) before--;
    if ((quote - before) % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** Byte after the bracket that closes the one at `open`. */
function nestedEnd(bytes: Buffer, open: number): number {
  let depth = 0;
  for (let at = open; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = stringEnd(bytes, at) - 1;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      // The object around it is a level too.
      if (++depth >= DEEPEST) throw notJson(`want JSON at most ${DEEPEST} levels deep`);
    } else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return at + 1;
  }
  throw notJson("not JSON, a bracket is not closed");
}
