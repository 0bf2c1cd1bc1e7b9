import type { Entry } from "./entry.ts";

/** A task, other words for it, and its program in both languages. */
const PROGRAMS: readonly (readonly [task: string, other: readonly string[], python: string, javascript: string])[] = [
  [
    "reverse a string",
    ["reverse text", "turn a string around"],
    "def reverse(text: str) -> str:\n    return text[::-1]",
    'function reverse(text) {\n  return [...text].reverse().join("");\n}',
  ],
  [
    "compute a factorial",
    ["get the factorial of a number", "calculate n factorial"],
    "def factorial(n: int) -> int:\n    result = 1\n    for i in range(2, n + 1):\n        result *= i\n    return result",
    "function factorial(n) {\n  let result = 1;\n  for (let i = 2; i <= n; i++) result *= i;\n  return result;\n}",
  ],
  [
    "compute a Fibonacci number",
    ["get the nth Fibonacci number", "do fibonacci"],
    "def fibonacci(n: int) -> int:\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
    "function fibonacci(n) {\n  let [a, b] = [0, 1];\n  for (let i = 0; i < n; i++) [a, b] = [b, a + b];\n  return a;\n}",
  ],
  [
    "check for a palindrome",
    ["test whether a text is a palindrome", "detect palindromes"],
    "def is_palindrome(text: str) -> bool:\n    letters = [c.lower() for c in text if c.isalnum()]\n    return letters == letters[::-1]",
    'function isPalindrome(text) {\n  const letters = text.toLowerCase().match(/[a-z0-9]/g) ?? [];\n  return letters.join("") === letters.reverse().join("");\n}',
  ],
  [
    "check for a prime number",
    ["test whether a number is prime", "detect primes"],
    "def is_prime(n: int) -> bool:\n    if n < 2:\n        return False\n    return all(n % d for d in range(2, int(n**0.5) + 1))",
    "function isPrime(n) {\n  if (n < 2) return false;\n  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;\n  return true;\n}",
  ],
  [
    "sort a list of numbers",
    ["sort numbers", "order a list"],
    "def sort_numbers(numbers: list[float]) -> list[float]:\n    return sorted(numbers)",
    "function sortNumbers(numbers) {\n  return numbers.toSorted((a, b) => a - b);\n}",
  ],
  [
    "print a greeting",
    ["say hello world", "print hello world"],
    'print("Hello, world!")',
    'console.log("Hello, world!");',
  ],
  [
    "find the largest number in a list",
    ["get the maximum of a list", "find the biggest number"],
    "def largest(numbers: list[float]) -> float:\n    return max(numbers)",
    "function largest(numbers) {\n  return Math.max(...numbers);\n}",
  ],
  [
    "add up a list of numbers",
    ["sum a list", "get the total of a list"],
    "def total(numbers: list[float]) -> float:\n    return sum(numbers)",
    "function total(numbers) {\n  return numbers.reduce((sum, n) => sum + n, 0);\n}",
  ],
  [
    "count the words in a text",
    ["count words", "get the number of words"],
    "def count_words(text: str) -> int:\n    return len(text.split())",
    "function countWords(text) {\n  return text.split(/\\s+/).filter(Boolean).length;\n}",
  ],
  [
    "count the vowels in a text",
    ["count vowels", "get the number of vowels"],
    'def count_vowels(text: str) -> int:\n    return sum(c in "aeiou" for c in text.lower())',
    "function countVowels(text) {\n  return (text.match(/[aeiou]/gi) ?? []).length;\n}",
  ],
  [
    "remove duplicates from a list",
    ["drop duplicates", "make a list unique"],
    "def unique(items: list) -> list:\n    return list(dict.fromkeys(items))",
    "function unique(items) {\n  return [...new Set(items)];\n}",
  ],
  [
    "read a file line by line",
    ["read lines of a file", "read a text file"],
    'with open(path, encoding="utf-8") as file:\n    for line in file:\n        print(line.rstrip())',
    'import { readFileSync } from "node:fs";\n\nfor (const line of readFileSync(path, "utf8").split("\\n")) console.log(line);',
  ],
  [
    "parse JSON",
    ["read JSON text", "decode a JSON string"],
    "import json\n\nvalue = json.loads(text)",
    "const value = JSON.parse(text);",
  ],
  [
    "convert Celsius to Fahrenheit",
    ["turn Celsius into Fahrenheit", "convert temperatures"],
    "def fahrenheit(celsius: float) -> float:\n    return celsius * 9 / 5 + 32",
    "function fahrenheit(celsius) {\n  return (celsius * 9) / 5 + 32;\n}",
  ],
  [
    "compute the greatest common divisor",
    ["get the gcd of two numbers", "find the gcd"],
    "def gcd(a: int, b: int) -> int:\n    while b:\n        a, b = b, a % b\n    return a",
    "function gcd(a, b) {\n  while (b) [a, b] = [b, a % b];\n  return a;\n}",
  ],
];

const LANGUAGES = [
  { language: "python", shown: "Python" },
  { language: "javascript", shown: "JavaScript" },
] as const;

/** Programs in two languages, and each again for who asked for the other language first. */
export function programEntries(): Entry[] {
  return PROGRAMS.flatMap((program) => {
    const both = LANGUAGES.map((one) => ({ ...one, entry: programEntry(program, one) }));
    return both.flatMap(({ shown, language, entry }) => [
      entry,
      {
        ...entry,
        key: `program-after/${language}/${program[0]}`,
        topic: "follow-up",
        after: both.filter((other) => other.language !== language).map((other) => other.entry),
        ways: [
          `And in ${shown}?`,
          `And how do I do that in ${shown}?`,
          `the same in ${language}`,
          `How does that look in ${shown}?`,
          `in ${shown} please`,
          `Can you show it in ${shown}?`,
        ],
      } satisfies Entry,
    ]);
  });
}

function programEntry(
  [task, other, python, javascript]: (typeof PROGRAMS)[number],
  { language, shown }: (typeof LANGUAGES)[number],
): Entry {
  return {
    key: `program/${language}/${task}`,
    topic: "code",
    question: `How do I ${task} in ${shown}?`,
    ways: [task, ...other].flatMap((words) => [
      `Write a ${shown} function to ${words}.`,
      `${shown} code to ${words}`,
      `how to ${words} in ${language}`,
      `Show me how to ${words} in ${shown}.`,
      `I need ${shown} code that can ${words}.`,
    ]),
    full: `To ${task} in ${shown}, use a few lines of code; a model for code can show them.`,
    brief: `Here is how to ${task} in ${shown}.`,
    code: { language, text: language === "python" ? python : javascript },
  };
}
