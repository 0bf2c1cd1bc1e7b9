import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aimsOf, aimsTable } from "../../bench/gateways/aims.ts";
import { STREAM_PARTS, TEXT, WHOLE } from "../../bench/gateways/answer.ts";
import { allCells, bodyOf, type Cell, quickCells } from "../../bench/gateways/cells.ts";
import { readLoad } from "../../bench/gateways/load.ts";
import { RequestReader } from "../../bench/gateways/request-reader.ts";
import { DIRECT, type Round, type Seen } from "../../bench/gateways/run.ts";
import { added, median, tables } from "../../bench/gateways/summary.ts";
import { percentile } from "../../bench/machine.ts";

const measured = (over: Partial<Round>): Round => ({
  requests: 100,
  rate: 100,
  p50Ms: 1,
  p99Ms: 2,
  answerBytes: 900,
  errors: 0,
  cpuUs: 50,
  rssMib: 80,
  ...over,
});

const seen = (name: string, cells: Round[][]): Seen => ({
  name,
  readyMs: [100],
  idleRssMib: 60,
  cells,
});

describe("percentile and median", () => {
  test("are by nearest rank", () => {
    expect(percentile([4, 1, 3, 2], 50)).toBe(2);
    expect(percentile([1, 2, 3, 4], 99)).toBe(4);
    expect(median([9, 1, 5])).toBe(5);
  });

  test("of nothing are no number", () => {
    expect(median([])).toBeNaN();
  });
});

describe("what a gateway adds", () => {
  test("is taken round by round, so that a disturbed one does not count twice", () => {
    const direct = [1, 10, 1].map((p50Ms) => measured({ p50Ms }));
    const ours = [1.5, 10.4, 1.3].map((p50Ms) => measured({ p50Ms }));
    expect(added(ours, direct, ({ p50Ms }) => p50Ms)).toBeCloseTo(0.4);
  });

  test("leaves out rounds that the direct way has not", () => {
    expect(added([measured({ p50Ms: 3 }), measured({ p50Ms: 9 })], [measured({})], ({ p50Ms }) => p50Ms)).toBe(2);
  });
});

describe("cells", () => {
  test("are all combinations, once each, and the quick ones are some of them", () => {
    expect(new Set(allCells().map((cell) => JSON.stringify(cell))).size).toBe(32);
    expect(quickCells()).toHaveLength(7);
    expect(allCells()).toEqual(expect.arrayContaining(quickCells()));
  });

  test.each([1, 220])("a body of %d KB is a chat of that size", (bodyKb) => {
    for (const stream of [false, true]) {
      const body = bodyOf({ bodyKb, stream });
      expect(body).toHaveLength(bodyKb * 1000);
      expect(JSON.parse(body)).toMatchObject({ model: "mock", messages: [{ role: "system" }, { role: "user" }] });
    }
  });
});

describe("the load's figures", () => {
  const line =
    '{"requests":200,"bytes":180000,"durationUs":2000000,"p50Us":1500,"p99Us":9000,"connect":1,"read":2,"write":0,"status":3,"timeout":4}';

  test("are read from wrk's own words", () => {
    expect(readLoad(`Running 1s test\n${line}\n`)).toEqual({
      requests: 200,
      rate: 100,
      p50Ms: 1.5,
      p99Ms: 9,
      answerBytes: 900,
      errors: 10,
    });
  });

  test("without the line there is an error and no zero", () => {
    expect(() => readLoad("unable to connect")).toThrow(/no figures:\nunable to connect/);
  });

  test("of no answer are no numbers, so that nothing looks fast", () => {
    expect(readLoad(line.replace('"requests":200', '"requests":0')).p99Ms).toBeNaN();
  });
});

describe("the cheap model server's reader", () => {
  const request = (body: string): string => `POST /v1 HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const chunked = (body: string): string =>
    `POST /v1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const whole = '{"messages":[]}';
  const streamed = '{"stream":true,"messages":[]}';

  test("finds every request however the bytes are cut", () => {
    const text = [request(whole), request(streamed), request(""), request(whole)].join("");
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length })), (cuts) => {
        const found: boolean[] = [];
        const reader = new RequestReader((stream) => found.push(stream));
        const at = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        for (let i = 1; i < at.length; i++) reader.read(Buffer.from(text.slice(at[i - 1], at[i])));
        // A body that is cut inside the field is not seen to ask for a stream; gateways write it in one piece.
        expect(found).toHaveLength(4);
      }),
    );
  });

  test.each([
    ["with its length", request],
    ["in chunks", chunked],
  ])("knows a streamed one %s", (_, write) => {
    const found: boolean[] = [];
    const reader = new RequestReader((stream) => found.push(stream));
    for (const body of [whole, streamed, whole]) reader.read(Buffer.from(write(body)));
    expect(found).toEqual([false, true, false]);
  });
});

describe("the cheap model server's answers", () => {
  test("are whole and say the same, streamed or not", () => {
    const bodyText = WHOLE.toString().split("\r\n\r\n")[1] ?? "";
    expect(JSON.parse(bodyText)).toMatchObject({ choices: [{ message: { content: TEXT } }] });
    const events = STREAM_PARTS.map(String)
      .join("")
      .split("\n")
      .filter((text) => text.startsWith("data: {"));
    const pieces = events.map(
      (event) =>
        (JSON.parse(event.slice(6)) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? "",
    );
    expect(pieces.join("")).toBe(TEXT);
    expect(STREAM_PARTS.at(-1)?.toString()).toMatch(/data: \[DONE\]\n\n\r\n0\r\n\r\n$/);
  });
});

describe("aims", () => {
  const cells: Cell[] = [1, 16, 64, 256].map((connections) => ({ delayMs: 0, bodyKb: 1, stream: false, connections }));
  const same = (over: Partial<Round>): Round[][] => cells.map(() => [measured(over)]);
  const who = { ours: "ours", portkey: "portkey", litellm: "litellm" };
  const run = [
    seen(DIRECT, same({ rate: 60_000, p50Ms: 0.1 })),
    seen("ours", same({ rate: 9_000, p50Ms: 0.3, p99Ms: 10 })),
    seen("portkey", same({ rate: 2_000 })),
    seen("litellm", same({ rate: 200, p99Ms: 150 })),
  ];

  test("are reached or not by their own figures", () => {
    expect(aimsOf(run, cells, who).map(({ value, reached }) => [Number(value.toFixed(2)), reached])).toEqual([
      [0.2, true],
      [4.5, true],
      [45, true],
      [15, false],
      [80, true],
      [100, true],
      [6.67, true],
    ]);
  });

  test("of a peer that took no part have no verdict", () => {
    const rows = aimsTable(aimsOf(run.slice(0, 2), cells, who)).split("\n");
    expect(rows.filter((row) => row.includes("not measured"))).toHaveLength(3);
  });

  test("tables show every contestant and count errors beside answers", () => {
    const text = tables([...run.slice(0, 2), seen("broken", same({ errors: 3 }))], cells);
    expect(text).toContain("| 0 ms, 1 KB, whole, c=64 | 0 of 100 | 0 of 100 | 3 of 100 |");
    expect(text).toContain("| 0 ms, 1 KB, whole, c=1 | 50 | 50 |");
    expect(text).toContain("| ours | 100 | 1 | 60.0 | 80.0 |");
  });
});
