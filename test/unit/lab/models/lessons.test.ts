import { describe, expect, test } from "vitest";
import { FIRST, type Lesson, Lessons, type Mind } from "../../../../infra/lab/models/lessons.ts";
import { entries, OUTSIDE, outsideQuestions } from "../../../../infra/lab/models/world/index.ts";

const MINDS: readonly Mind[] = ["rewriter", "general", "coder", "brief", "judge"];
const some = (mind: Mind, count: number, held = false, seed = 7): Lesson[] => {
  const lessons = new Lessons(mind, seed, held);
  return Array.from({ length: count }, () => lessons.next());
};
/** A judge's lessons as they are once it has read single answers. */
const ballots = (count: number): Lesson[] => some("judge", FIRST.right + FIRST.single + count).slice(-count);
const asked = ({ messages }: Lesson): string => messages.at(-1)?.content ?? "";

describe("the little world", () => {
  test("asks each thing in words of its own", () => {
    const world = entries();
    expect(new Set(world.map(({ key }) => key)).size).toBe(world.length);
    const words = world.filter(({ after }) => after === undefined).flatMap(({ question, ways }) => [question, ...ways]);
    const twice = words.filter((one, index) => words.indexOf(one) !== index);
    expect(twice).toEqual([]);
  });

  test("knows nothing of what is outside of it", () => {
    const words = new Set(entries().flatMap(({ question, ways }) => [question, ...ways]));
    expect(outsideQuestions().filter((one) => words.has(one))).toEqual([]);
  });
});

describe("lessons", () => {
  test.each(MINDS)("of the %s are the same at every call, and others with another seed", (mind) => {
    expect(some(mind, 50)).toEqual(some(mind, 50));
    expect(some(mind, 50)).not.toEqual(some(mind, 50, false, 8));
  });

  test.each(["general", "coder", "brief"] as const)("of the %s say what is right, or that it is outside", (mind) => {
    const right = new Set([
      OUTSIDE,
      ...entries().flatMap(({ full, brief, code }) => [
        full,
        brief,
        ...(code === undefined ? [] : [`${brief}\n\n\`\`\`${code.language}\n${code.text}\n\`\`\``]),
      ]),
    ]);
    const lessons = some(mind, 500);
    expect(lessons.filter(({ reply }) => !right.has(reply))).toEqual([]);
    const outside = lessons.filter(({ reply }) => reply === OUTSIDE).length;
    expect(outside).toBeGreaterThan(30);
    expect(outside).toBeLessThan(150);
  });

  test("what a model is tested with it has not read", () => {
    const read = new Set(
      some("brief", 4_000).map((one) =>
        asked(one)
          .toLowerCase()
          .replace(/[?.!]$/, ""),
      ),
    );
    const unread = some("brief", 400, true).filter(
      (one) =>
        !read.has(
          asked(one)
            .toLowerCase()
            .replace(/[?.!]$/, ""),
        ),
    );
    expect(unread.length).toBeGreaterThan(300);
  });

  test("a follow-up comes after what it speaks of", () => {
    const followUps = some("rewriter", 2_000).filter((one) => /how many people live there/i.test(asked(one)));
    expect(followUps.length).toBeGreaterThan(20);
    for (const one of followUps) {
      const city = /live in (.+)\?/.exec(one.reply)?.[1] ?? "";
      expect(asked(one)).toContain(city);
    }
  });

  test("a judge first reads right answers, then single ones to be weighed", () => {
    const lessons = some("judge", FIRST.right + FIRST.single).map(({ ballot }) => ballot);
    for (const [index, ballot] of lessons.entries()) {
      expect(ballot?.dealt.entries).toHaveLength(1);
      if (index < FIRST.right) expect(ballot?.right).toHaveLength(1);
    }
    const right = lessons.slice(FIRST.right).filter((ballot) => ballot?.right.length === 1).length;
    expect(right / FIRST.single).toBeGreaterThan(0.4);
    expect(right / FIRST.single).toBeLessThan(0.7);
  });

  test("a verdict names the one best answer, and the scores agree", () => {
    for (const lesson of ballots(500)) {
      const verdict = JSON.parse(lesson.reply) as { winner: string; scores?: Record<string, number[]> };
      const labels = [...asked(lesson).matchAll(/^<answer ([A-H]) [0-9a-f]{8}>$/gm)].map((match) => match[1]);
      expect(labels).toContain(verdict.winner);
      expect(labels.length).toBeGreaterThanOrEqual(2);
      if (verdict.scores === undefined) continue;
      const total = (label: string): number => (verdict.scores?.[label] ?? []).reduce((a, b) => a + b, 0);
      expect(Object.keys(verdict.scores)).toEqual([...labels].toSorted());
      for (const label of labels)
        if (label !== undefined) expect(total(verdict.winner)).toBeGreaterThanOrEqual(total(label));
    }
  });

  test("nothing that a judge is to think wrong is right, and the winner is of the highest worth", () => {
    const right = new Map<string, Set<string>>();
    for (const { question, ways, full, brief, after } of entries()) {
      if (after !== undefined) continue;
      for (const words of [question, ...ways]) {
        const known = right.get(words) ?? new Set();
        right.set(words, known.add(full).add(brief));
      }
    }
    let wrongs = 0;
    for (const { messages, reply, ballot, topic } of ballots(800)) {
      if (ballot === undefined) throw new Error("a judge's lesson without a ballot");
      const { winner } = JSON.parse(reply) as { winner: string };
      const best = ballot.dealt.entries.find(({ label }) => label === winner);
      expect(ballot.ranks[best?.member ?? ""]).toBe(Math.max(...Object.values(ballot.ranks)));
      const words = /(?:^|\n)Question: (.*)\n/.exec(messages.at(-1)?.content ?? "")?.[1] ?? "";
      if (topic === "follow-up") continue;
      for (const { member, text } of ballot.dealt.entries) {
        if (ballot.ranks[member] !== 0) continue;
        wrongs++;
        expect(right.get(words)?.has(text) ?? false, `${words}: ${text}`).toBe(false);
      }
    }
    expect(wrongs).toBeGreaterThan(400);
  });

  test("a model that answers is shown no more than the last turn", () => {
    const turns = some("general", 500).map(
      ({ messages }) => messages.filter(({ role }) => role === "assistant").length,
    );
    expect(Math.max(...turns)).toBe(1);
  });

  test("a ballot's labels stand in any order, as they do where answers are judged while they are written", () => {
    const orders = new Map<string, number>();
    for (const { ballot } of ballots(1_500)) {
      const order = ballot?.dealt.entries.map(({ label }) => label).join("") ?? "";
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect([...orders.keys()].toSorted()).toEqual(["AB", "ABC", "ACB", "BA", "BAC", "BCA", "CAB", "CBA"]);
    for (const count of orders.values()) expect(count).toBeGreaterThan(30);
  });

  test("no label wins more often than chance", () => {
    const lessons = ballots(1_500).map(({ reply, ballot }) => ({
      winner: (JSON.parse(reply) as { winner: string }).winner,
      labels: ballot?.dealt.entries.map(({ label }) => label) ?? [],
    }));
    for (const label of ["A", "B", "C"]) {
      const there = lessons.filter(({ labels }) => labels.includes(label));
      const byChance = there.reduce((sum, { labels }) => sum + 1 / labels.length, 0);
      const won = there.filter(({ winner }) => winner === label).length;
      expect(won / byChance).toBeGreaterThan(0.8);
      expect(won / byChance).toBeLessThan(1.25);
    }
  });
});
