import { isUtf8 } from "node:buffer";
import { decode, encode, rfc8949EncodeOptions, type Token, Tokenizer } from "cborg";
import { HORN_CBOR, HORN_JSON, type HornProtocol, type HornReply, HornRequest } from "../../contracts/horn.ts";
import type { AskEvent } from "../../contracts/native.ts";
import { Fault } from "../../core/fault.ts";
import { DEEPEST_JSON, parseJson } from "../../support/http.ts";

/** How the frames of one subprotocol are written and read. */
export interface Codec {
  protocol: HornProtocol;
  /** Whether its frames are binary ones. */
  binary: boolean;
  encode(reply: HornReply): Buffer;
  /** The same as `encode` of an `event` reply; most frames are one. */
  encodeEvent(id: string, seq: number, event: AskEvent): Buffer;
  /** The value in a frame's payload. @throws Fault invalid_request */
  decode(payload: Buffer): unknown;
}

const JSON_CODEC: Codec = {
  protocol: HORN_JSON,
  binary: false,
  encode: (reply) => Buffer.from(JSON.stringify(reply)),
  // An id holds nothing that JSON would escape.
  encodeEvent: (id, seq, event) =>
    Buffer.from(`{"type":"event","id":"${id}","seq":${seq},"event":${JSON.stringify(event)}}`),
  // The WebSocket layer has checked a text frame's UTF-8.
  decode: (payload) => parseJson(payload.toString("utf8")),
};

const CBOR_CODEC: Codec = {
  protocol: HORN_CBOR,
  binary: true,
  encode: (reply) => bytesOf(reply),
  encodeEvent: (id, seq, event) => bytesOf({ type: "event", id, seq, event }),
  decode: (payload) => {
    try {
      const value: unknown = decode(payload, { ...STRICT, tokenizer: new BoundedTokenizer(payload, STRICT) });
      return value;
    } catch (cause) {
      if (cause instanceof Fault) throw cause;
      throw new Fault("invalid_request", `body: not CBOR as this protocol wants it${detailOf(cause)}`, { cause });
    }
  },
};

/** Both codecs by their subprotocol. */
export const CODECS: Readonly<Record<HornProtocol, Codec>> = { [HORN_JSON]: JSON_CODEC, [HORN_CBOR]: CBOR_CODEC };

/** Reads a client's frame. @throws Fault invalid_request: of the other kind, malformed, or not of this protocol */
export function readFrame(codec: Codec, payload: Buffer, binary: boolean): HornRequest {
  if (binary !== codec.binary)
    throw new Fault("invalid_request", `want ${codec.binary ? "binary" : "text"} frames with ${codec.protocol}`);
  const parsed = HornRequest.safeParse(codec.decode(payload));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "body" : issue.path.map(String).join(".");
  throw new Fault("invalid_request", `${where}: ${issue?.message ?? "not of this protocol"}`);
}

/** Shortest forms, keys in the order of RFC 8949, 4.2.1: one value, one text of bytes. */
const WRITTEN = { ...rfc8949EncodeOptions, ignoreUndefinedProperties: true };

function bytesOf(reply: HornReply): Buffer {
  const { buffer, byteOffset, byteLength } = encode(reply, WRITTEN);
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** What a client may write: the data model of JSON, each value in its shortest form, no key twice. */
const STRICT = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: false,
  allowInfinity: false,
  allowNaN: false,
  rejectDuplicateMapKeys: true,
  // For the check of UTF-8 below: the library itself puts U+FFFD where bytes are none.
  retainStringBytes: true,
} as const;

/** Tokens of a frame, refused where they nest deeper than JSON may here, or are bytes, tags or bad UTF-8. */
class BoundedTokenizer extends Tokenizer {
  /** Items that each open array or map still wants. */
  readonly #wanted: number[] = [];

  override next(): Token {
    const token = super.next();
    const { name } = token.type;
    if (name === "bytes" || name === "tag") throw new Fault("invalid_request", `body: want CBOR without ${name}`);
    const { byteValue } = token as Token & { byteValue?: Uint8Array };
    if (name === "string" && byteValue !== undefined && !isUtf8(byteValue))
      throw new Fault("invalid_request", "body: not UTF-8");
    const items = name === "array" ? Number(token.value) : name === "map" ? 2 * Number(token.value) : 0;
    if ((name === "array" || name === "map") && this.#wanted.length >= DEEPEST_JSON)
      throw new Fault("invalid_request", `body: want CBOR at most ${DEEPEST_JSON} levels deep`);
    if (items > 0) {
      this.#wanted.push(items);
      return token;
    }
    // This item is whole, and with it every array and map that it ends.
    for (let top = this.#wanted.pop(); top !== undefined; top = this.#wanted.pop()) {
      if (top > 1) {
        this.#wanted.push(top - 1);
        break;
      }
    }
    return token;
  }
}

function detailOf(cause: unknown): string {
  return cause instanceof Error ? ` (${cause.message.replace(/^CBOR decode error:? */i, "").slice(0, 100)})` : "";
}
