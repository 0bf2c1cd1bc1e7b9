/** A part of a file, both ends included, and the file's length; as HTTP's Content-Range has them. */
export interface ContentRange {
  first: number;
  last: number;
  /** Absent where the server does not say. */
  totalBytes?: number;
}

/** Reads `Content-Range: bytes 0-99/200`. Undefined for anything else. Source: RFC 9110, 14.4. */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const [, from = "", to = "", total = ""] = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(header ?? "") ?? [];
  if (from === "") return undefined;
  const [first, last] = [Number(from), Number(to)];
  const totalBytes = total === "*" ? undefined : Number(total);
  if (last < first || (totalBytes !== undefined && last >= totalBytes)) return undefined;
  return { first, last, ...(totalBytes === undefined ? {} : { totalBytes }) };
}

/** The next part to ask for. @param totalBytes undefined while nobody has said it */
export function nextRange(
  offset: number,
  totalBytes: number | undefined,
  chunkBytes: number,
): { first: number; last: number } {
  const last = offset + chunkBytes - 1;
  return { first: offset, last: totalBytes === undefined ? last : Math.min(last, totalBytes - 1) };
}

/** A validator that If-Range takes: a strong ETag. Undefined for a weak one and for none. Source: RFC 9110, 13.1.5. */
export function strongTag(etag: string | undefined): string | undefined {
  return etag !== undefined && /^"[\x21\x23-\x7e]{0,256}"$/.test(etag) ? etag : undefined;
}

/** Pause before a further try, ms: twice as long each time, at most ten seconds, and not at the same moment for all. @param random from 0 to 1 */
export function backoffMs(failures: number, random: number): number {
  return Math.min(10_000, 250 * 2 ** Math.min(failures, 10)) * (0.5 + random / 2);
}
