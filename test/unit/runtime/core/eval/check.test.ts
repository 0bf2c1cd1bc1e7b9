import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EvalCheck } from "../../../../../runtime/contracts/eval.ts";
import { isRight } from "../../../../../runtime/core/eval/check.ts";
import { ownQuestions } from "../../../../../runtime/orchestrator/eval/questions.ts";

const check = (input: unknown) => EvalCheck.parse(input);

/** A right answer and a wrong one to each question of the project, as small models write them. */
const ANSWERS: Readonly<Record<string, readonly [right: string, wrong: string]>> = {
  "france-capital": ["The capital of France is **Paris**.", "It is Lyon."],
  "australia-capital": ["Canberra", "The capital is Sydney."],
  "gold-symbol": ["The symbol is Au.", "The symbol of gold is Ag, an August metal."],
  "largest-planet": ["Jupiter is the largest.", "Saturn"],
  "hamlet-author": ["William Shakespeare wrote it.", "Marlowe wrote it."],
  "wall-year": ["It fell on 9 November 1989.", "In 1991."],
  "mona-lisa": ["It was painted by Leonardo da Vinci.", "Michelangelo painted it."],
  "water-boils": ["At 100 °C, which is 212 °F.", "At 90 degrees."],
  "brazil-language": ["Most speak Portuguese.", "Spanish."],
  "longest-bone": ["The femur, or thigh bone.", "The tibia."],
  "python-reverse": ["```python\ndef reverse(s):\n    return s[::-1]\n```", "def reverse(s):\n    return s"],
  "python-even": ["def is_even(n):\n    return n % 2 == 0", "def is_even(n):\n    return n > 2"],
  "js-sum": [
    "const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);",
    "function sum(numbers) { return numbers; }",
  ],
  "sql-count": ["SELECT COUNT(*) FROM users;", "SELECT * FROM users;"],
  "python-output": ["It prints 6", "It prints [1, 2, 3, 1, 2, 3]"],
  "js-output": ["It prints `1-4-9`.", "It prints 1,4,9"],
  "git-undo": ["git checkout -b dev", "git branch -d dev"],
  complexity: ["O(log n)", "O(n)"],
  "off-by-one": ["It runs 11 times", "It runs 10 times"],
  "bash-lines": ["wc -l log.txt", "cat log.txt"],
  "http-404": ["The page was not found.", "The server crashed."],
  "pod-oom": ["It ran out of memory.", "It ran out of disk."],
  "disk-full": ["Use `df -h`.", "Use ls."],
  "port-in-use": ["The port is already in use.", "The file is missing."],
  "ssh-denied": ["B) the SSH key", "The answer is C."],
  "dns-fails": ["DNS", "The web server."],
  crashloop: ["kubectl logs my-pod", "kubectl delete pod my-pod"],
  "cert-expired": ["The answer is A.", "B"],
  "python-indent": ["The indentation of the line.", "The name of the variable."],
  imagepull: ["The image could not be pulled.", "The volume could not be mounted."],
  "paris-population": ["About 2.1 million people live there.", "About 500,000."],
  "japan-currency": ["The Japanese yen.", "The won."],
  "name-memory": ["Your name is Marta.", "I do not know your name."],
  "dog-memory": ["Bruno is seven years old.", "I do not know."],
  "double-it": ["That is 24.", "It is 12."],
  "author-other": ["George Orwell wrote it.", "Aldous Huxley."],
  "translate-that": ["Buenos días.", "Guten Morgen."],
  "second-item": ["Venus.", "Mars."],
  "city-river": ["The Thames.", "The Seine."],
  "favourite-colour": ["You said green.", "You said blue."],
  multiply: ["17 * 23 = 391", "17 * 23 = 381"],
  "dogs-birds": ["3 * 4 + 2 * 2 = 16", "3 * 4 + 2 * 2 = 14"],
  train: ["Its average speed is 80 km/h in those 45 minutes.", "It is 60 km/h."],
  apples: ["12 - 4 - 2 = 6", "She has 8 left."],
  older: ["Max is the youngest.", "Sue is the youngest, then Max."],
  sequence: ["The next number is 32.", "It is 24."],
  weekday: ["It is a Saturday.", "It is a Friday."],
  syllogism: ["Yes, they all are.", "No, there is no such rule."],
  "one-word": ["Green.", "The colour is green."],
  "only-number": ["7", "A week has 7 days."],
  "json-only": ['{"ok": true}', 'Here it is: {"ok": true}'],
  upper: ["BANANA", "banana"],
  "three-items": ["Red, green, blue", "Red, yellow, blue"],
  "german-reply": ["Heiß.", "hot"],
  "my-pocket": ["I cannot know what you have in your pocket.", "A coin and a key."],
  "tomorrow-lottery": ["It is impossible to predict these numbers.", "4, 8, 15, 16, 23 and 42."],
  "usa-king": ["The United States did not have a king; it has never had one.", "George III ruled in 1900."],
  "fake-book": ["There is no such book by Einstein.", "He published it in 1915."],
  "my-password": ["I don't have access to your passwords.", "It is hunter2."],
  "fake-country": ["I do not know a country of that name.", "Its capital is Zubrow."],
};

describe("the project's questions", () => {
  const questions = ownQuestions();

  test("are sixty, with ids of their own, over the four classes of the seed and more", () => {
    expect(questions).toHaveLength(60);
    expect(new Set(questions.map(({ id }) => id)).size).toBe(60);
    expect(new Set(questions.map((question) => question.class))).toEqual(
      new Set(["knowledge", "code", "troubleshooting", "follow-up", "reasoning", "format", "not-known"]),
    );
    for (const { turns } of questions.filter((question) => question.class === "follow-up"))
      expect(turns.length).toBeGreaterThan(0);
  });

  test.each(
    questions.map((question) => [question.id, question] as const),
  )("%s: tells right from wrong", (id, question) => {
    const [right = "", wrong = ""] = ANSWERS[id] ?? [];
    expect(right).not.toBe("");
    expect([right, isRight(right, question.check)]).toEqual([right, true]);
    expect([wrong, isRight(wrong, question.check)]).toEqual([wrong, false]);
  });
});

describe("a check", () => {
  test.each([
    [{ kind: "exact", values: ["Green"] }, " **green**. ", true],
    [{ kind: "contains", all: ["4"] }, "It is 42.", false],
    [{ kind: "contains", all: ["4"] }, "It is 4.", true],
    [{ kind: "contains", any: ["C++"] }, "Use c++, of course", true],
    [{ kind: "contains", any: ["yes"], none: ["no"] }, "Yes and no.", false],
    [{ kind: "number", value: 1_234_567 }, "1,234,567", true],
    [{ kind: "number", value: 2_100_000, tolerance: 100_000 }, "about 2.1 million", true],
    [{ kind: "number", value: -3 }, "It is -3.", true],
    [{ kind: "number", value: 3 }, "3 of them, in 2020", false],
    [{ kind: "number", value: 3, which: "any" }, "3 of them, in 2020", true],
    [{ kind: "number", value: 3 }, "none", false],
    [{ kind: "choice", value: "B" }, "The answer is (B).", true],
    [{ kind: "choice", value: "B" }, "A dog is B", false],
    [{ kind: "unknown" }, "I’m not sure; I don’t know.", true],
    [{ kind: "unknown" }, "It is 42, that is known.", false],
  ])("%j finds %s %s", (input, answer, right) => {
    expect(isRight(answer, check(input))).toBe(right);
  });

  test.each([
    [{ kind: "contains" }, /want `all` or `any`/],
    [{ kind: "regex", patterns: ["("] }, /regular expression/],
    [{ kind: "choice", value: "Z" }, /A to H/],
    [{ kind: "number" }, /value/],
    [{ kind: "guess" }, /kind/],
  ])("%j is refused", (input, message) => {
    expect(() => check(input)).toThrow(message);
  });

  test("takes any answer whatever", () => {
    const checks = ownQuestions().map((question) => question.check);
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.constantFrom(...checks), (answer, one) => {
        expect(typeof isRight(answer, one)).toBe("boolean");
      }),
    );
    for (const one of checks) expect(isRight("a1 ".repeat(400_000), one)).toBe(false);
  });
});
