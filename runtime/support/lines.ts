/** Longest line taken from a server, UTF-16 units; more is no line of these APIs. */
const LONGEST_LINE = 4 * 1024 * 1024;

/** A stream that holds no lines of these APIs. */
export class LineError extends Error {
  override readonly name = "LineError";
}

/** The lines of a byte stream as they come, without their ends, empty ones left out. @throws LineError on a line without end */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of bytes) {
    rest += decoder.decode(part, { stream: true });
    let from = 0;
    for (let at = rest.indexOf("\n"); at !== -1; at = rest.indexOf("\n", from)) {
      const line = rest.slice(from, at).trim();
      from = at + 1;
      if (line !== "") yield line;
    }
    rest = rest.slice(from);
    if (rest.length > LONGEST_LINE) throw new LineError(`a line of more than ${LONGEST_LINE} characters`);
  }
  rest = (rest + decoder.decode()).trim();
  if (rest !== "") yield rest;
}
