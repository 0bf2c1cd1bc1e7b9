import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MultipartScanner } from "../../../../infra/lab/pve/http/multipart.ts";

const BOUNDARY = "b0undary";

function body(parts: { name: string; filename?: string; content: Buffer }[]): Buffer {
  const chunks = parts.flatMap(({ name, filename, content }) => {
    const file = filename === undefined ? "" : `; filename="${filename}"`;
    return [
      Buffer.from(`--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`),
      content,
      Buffer.from("\r\n"),
    ];
  });
  return Buffer.concat([...chunks, Buffer.from(`--${BOUNDARY}--\r\n`)]);
}

function scan(
  bytes: Buffer,
  cuts: number[],
): { parts: { name: string; filename: string | undefined; content: string }[]; complete: boolean } {
  const scanner = new MultipartScanner(BOUNDARY);
  const parts: { name: string; filename: string | undefined; content: string }[] = [];
  let from = 0;
  for (const cut of [...cuts.map((one) => one % bytes.length), bytes.length].sort((a, b) => a - b)) {
    for (const event of scanner.push(bytes.subarray(from, cut))) {
      if (event.kind === "part") parts.push({ name: event.name, filename: event.filename, content: "" });
      const last = parts.at(-1);
      if (event.kind === "data" && last !== undefined) last.content += event.bytes.toString("latin1");
    }
    from = cut;
  }
  return { parts, complete: scanner.isComplete };
}

describe("multipart bodies", () => {
  // Content made of pieces of the boundary itself is what such a scanner gets wrong.
  const content = fc
    .array(fc.constantFrom("\r\n", "--", "\r\n--b0und", "a", "\r", "\n", BOUNDARY.slice(0, 7)), { maxLength: 12 })
    .map((pieces) => Buffer.from(pieces.join(""), "latin1"));

  test("come out as they went in, wherever they are cut", () => {
    fc.assert(
      fc.property(
        fc.array(content, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (contents, cuts) => {
          const parts = contents.map((bytes, index) => ({
            name: `f${index}`,
            ...(index % 2 === 0 ? {} : { filename: "x.iso" }),
            content: bytes,
          }));
          const seen = scan(body(parts), cuts);
          expect(seen.complete).toBe(true);
          expect(seen.parts).toEqual(
            parts.map(({ name, filename, content: bytes }) => ({ name, filename, content: bytes.toString("latin1") })),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test("that end early are not complete", () => {
    const whole = body([{ name: "a", content: Buffer.from("1") }]);
    expect(scan(whole.subarray(0, whole.length - 5), []).complete).toBe(false);
  });

  test("without a name or with endless headers are refused", () => {
    expect(() =>
      scan(Buffer.from(`--${BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n--${BOUNDARY}--`), []),
    ).toThrow("a part has no name");
    expect(() => scan(Buffer.from(`--${BOUNDARY}\r\n${"x".repeat(20_000)}`), [])).toThrow("headers are too long");
  });
});
