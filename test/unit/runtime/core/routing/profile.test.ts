import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DIMENSIONS, type Dimension } from "../../../../../runtime/contracts/routing.ts";
import { profileOf, vectorOf } from "../../../../../runtime/core/routing/profile.ts";

describe("the profile of a question", () => {
  test.each<[Dimension, string, number]>([
    ["code", "Write a Python function that reverses a string.", 0],
    ["code", "What does this print?\n```\nfor (const x of [1, 2]) console.log(x);\n```", 0],
    ["code", "Warum wirft read_file() diesen Fehler: TypeError in main.js?", 0],
    ["reasoning", "How many legs do 3 dogs and 2 birds have?", 0],
    ["reasoning", "17 * 23 = ?", 0],
    ["reasoning", "Combien font 12 et 30, étape par étape ?", 0],
    ["recall", "What is the capital of France?", 0],
    ["recall", "Wer hat die Relativitätstheorie entwickelt?", 0],
    ["recall", "¿Quién escribió Don Quijote?", 0],
    ["creativity", "Write a haiku about rain.", 0],
    ["creativity", "Schreibe ein Gedicht über den Herbst.", 0],
    ["brevity", "Is water wet? Answer yes or no.", 0],
    ["brevity", "Nenne die Hauptstadt von Peru in einem Wort.", 0],
    ["contextDependence", "And its population?", 1],
    ["contextDependence", "Und was ist mit dessen Einwohnern?", 2],
    ["risk", "What dose of ibuprofen can I give my baby?", 0],
    ["risk", "Ich habe eine Überdosis genommen, was tun?", 0],
    ["risk", "How do I run rm -rf on the production database?", 0],
  ])("is high in %s for: %s", (dimension, question, turns) => {
    expect(profileOf(question, turns)[dimension]).toBeGreaterThanOrEqual(0.5);
  });

  test.each<[Dimension, string, number]>([
    ["code", "What is the capital of France?", 0],
    ["reasoning", "Write a haiku about rain.", 0],
    ["recall", "Write a Python function that reverses a string.", 0],
    ["creativity", "What is the capital of France?", 0],
    ["brevity", "Explain in detail how a compiler works, step by step, for a newcomer.", 0],
    ["contextDependence", "And its population?", 0],
    ["risk", "What is the capital of France?", 0],
    ["risk", "Write a Python function that kills a process.", 0],
  ])("is low in %s for: %s", (dimension, question, turns) => {
    expect(profileOf(question, turns)[dimension]).toBeLessThan(0.3);
  });

  test.each([
    "日本の首都はどこですか？",
    "ما هي عاصمة فرنسا؟",
    "Какая столица Франции?",
    "😀😀😀",
    "zkrw blorg fnarp quux",
  ])("calls risky what it cannot read: %s", (question) => {
    expect(profileOf(question, 0).risk).toBeGreaterThanOrEqual(0.5);
  });

  test("counts a cue once, however often it stands there", () => {
    expect(profileOf("python ".repeat(50) + "is the best", 0).code).toBe(
      profileOf(`python ${"the ".repeat(49)}is the best`, 0).code,
    );
  });

  test("sees what stands at the end of a very long question, and nothing of its middle", () => {
    const filler = "and the rest of it is like this. ".repeat(30_000);
    expect(profileOf(`${filler} Write a haiku about that.`, 0).creativity).toBeGreaterThan(0.5);
    expect(profileOf(`${filler} Write a haiku about that. ${filler}`, 0).creativity).toBe(0);
  });

  test("gives seven degrees from 0 to 1, the same each time, for any text whatever", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 400 }),
      fc.string({ unit: "grapheme", maxLength: 400 }),
      fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 200 }).map((codes) => String.fromCharCode(...codes)),
      fc
        .tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 130_000 }))
        .map(([part, times]) => part.repeat(times)),
    );
    fc.assert(
      fc.property(text, fc.nat(20), (question, turns) => {
        const profile = profileOf(question, turns);
        expect(Object.keys(profile)).toEqual([...DIMENSIONS]);
        for (const degree of vectorOf(profile)) expect(degree >= 0 && degree <= 1).toBe(true);
        expect(profileOf(question, turns)).toEqual(profile);
        if (turns === 0) expect(profile.contextDependence).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
