/** The little world of the scripted models: enough for the example questions and the lab. Figures are rounded on purpose. */

/** What the models know of one question: a whole answer, a short one, and code where it is about code. */
export interface Fact {
  topic: "general" | "code" | "troubleshooting" | "conversation";
  full: string;
  brief: string;
  /** A program with its language tag, for questions about code. */
  code?: { language: string; text: string };
}

/** Capitals with the inhabitants of the city proper, in millions, rounded. Source: the cities' own censuses, 2020 to 2023. */
const CAPITALS: readonly { country: string; capital: string; millions: number }[] = [
  { country: "France", capital: "Paris", millions: 2.1 },
  { country: "Germany", capital: "Berlin", millions: 3.8 },
  { country: "Spain", capital: "Madrid", millions: 3.3 },
  { country: "Italy", capital: "Rome", millions: 2.8 },
  { country: "Portugal", capital: "Lisbon", millions: 0.5 },
  { country: "Austria", capital: "Vienna", millions: 2.0 },
  { country: "Poland", capital: "Warsaw", millions: 1.9 },
  { country: "Sweden", capital: "Stockholm", millions: 1.0 },
  { country: "Norway", capital: "Oslo", millions: 0.7 },
  { country: "Finland", capital: "Helsinki", millions: 0.7 },
  { country: "Denmark", capital: "Copenhagen", millions: 0.7 },
  { country: "Ireland", capital: "Dublin", millions: 0.6 },
  { country: "Greece", capital: "Athens", millions: 0.6 },
  { country: "Japan", capital: "Tokyo", millions: 14.0 },
  { country: "Canada", capital: "Ottawa", millions: 1.0 },
  { country: "Australia", capital: "Canberra", millions: 0.5 },
  { country: "Egypt", capital: "Cairo", millions: 10.1 },
  { country: "Kenya", capital: "Nairobi", millions: 4.4 },
  { country: "India", capital: "New Delhi", millions: 0.3 },
  { country: "Brazil", capital: "Brasilia", millions: 2.8 },
];

const PROGRAMS: readonly { match: RegExp; name: string; python: string; javascript: string }[] = [
  {
    match: /revers\w*.*(string|text|word)|(string|text|word).*revers/i,
    name: "reverse a string",
    python: "def reverse(text: str) -> str:\n    return text[::-1]",
    javascript: 'function reverse(text) {\n  return [...text].reverse().join("");\n}',
  },
  {
    match: /factorial/i,
    name: "compute a factorial",
    python:
      "def factorial(n: int) -> int:\n    result = 1\n    for i in range(2, n + 1):\n        result *= i\n    return result",
    javascript:
      "function factorial(n) {\n  let result = 1n;\n  for (let i = 2n; i <= BigInt(n); i++) result *= i;\n  return result;\n}",
  },
  {
    match: /fibonacci/i,
    name: "compute a Fibonacci number",
    python:
      "def fibonacci(n: int) -> int:\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
    javascript:
      "function fibonacci(n) {\n  let [a, b] = [0n, 1n];\n  for (let i = 0; i < n; i++) [a, b] = [b, a + b];\n  return a;\n}",
  },
  {
    match: /palindrome/i,
    name: "check for a palindrome",
    python:
      "def is_palindrome(text: str) -> bool:\n    letters = [c.lower() for c in text if c.isalnum()]\n    return letters == letters[::-1]",
    javascript:
      'function isPalindrome(text) {\n  const letters = text.toLowerCase().match(/[a-z0-9]/g) ?? [];\n  return letters.join("") === letters.reverse().join("");\n}',
  },
  {
    match: /\bprimes?\b/i,
    name: "check for a prime number",
    python:
      "def is_prime(n: int) -> bool:\n    if n < 2:\n        return False\n    return all(n % d for d in range(2, int(n ** 0.5) + 1))",
    javascript:
      "function isPrime(n) {\n  if (n < 2) return false;\n  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;\n  return true;\n}",
  },
  {
    match: /\bsort/i,
    name: "sort a list",
    python: "def sort_list(items: list) -> list:\n    return sorted(items)",
    javascript: "function sortList(items) {\n  return items.toSorted((a, b) => a - b);\n}",
  },
  {
    match: /hello,? world/i,
    name: "print a greeting",
    python: 'print("Hello, world!")',
    javascript: 'console.log("Hello, world!");',
  },
];

const HELP: readonly { match: RegExp; cause: string; steps: string }[] = [
  {
    match: /\bpending\b/i,
    cause: "A pod stays Pending when no node has room for its requests or fits its rules",
    steps:
      "Run `kubectl describe pod NAME` and read the last events; then lower the requests, add a node, or mend the taint or the spread rule that they name",
  },
  {
    match: /crashloopbackoff|crash.?loop/i,
    cause: "CrashLoopBackOff means that the container starts and ends again and again",
    steps:
      "Read `kubectl logs NAME --previous` and `kubectl describe pod NAME`; look for a missing setting, a failed probe or an OOM kill",
  },
  {
    match: /imagepullbackoff|errimagepull|pull.*image/i,
    cause: "The node cannot fetch the image",
    steps:
      "Check the image's name and tag, the registry's address and its credentials, and whether the node can reach it",
  },
  {
    match: /oom|out of memory|exit code 137/i,
    cause: "OOMKilled means that the container went over its memory limit",
    steps: "Raise the limit (2Gi to 3Gi for a 1B model) or load a smaller quantization, and apply again",
  },
  {
    match: /\bdns\b|resolve|cannot connect to host/i,
    cause: "A name that does not resolve points to the Service or to CoreDNS",
    steps:
      "Check that the Service exists and that its selector equals the pods' labels, then run `nslookup NAME` in a pod",
  },
  {
    match: /notready|not ready/i,
    cause: "A node is NotReady when its kubelet no longer reports",
    steps:
      "On the node, read `systemctl status k3s-agent` and `journalctl -u k3s-agent`, then check port 6443 to the server and the clock",
  },
  {
    match: /disk.*full|no space left/i,
    cause: "The file system has no free blocks or inodes",
    steps:
      "Find what takes the space with `df -h` and `du -xh --max-depth=1 /`, remove old images and logs, then restart what failed",
  },
];

const TERMS: readonly { match: RegExp; full: string; brief: string }[] = [
  {
    match: /\bk3s\b/i,
    full: "K3s is a certified, light Kubernetes distribution that comes as one binary and suits small machines",
    brief: "K3s is a light Kubernetes",
  },
  {
    match: /kubernetes|\bk8s\b/i,
    full: "Kubernetes runs containers on a group of machines: it places them, restarts them when they fail, connects them and scales them",
    brief: "Kubernetes orchestrates containers",
  },
  {
    match: /proxmox/i,
    full: "Proxmox VE is a server platform on Debian that manages virtual machines and containers through a web page and an API",
    brief: "Proxmox VE runs virtual machines",
  },
  {
    match: /pulumi/i,
    full: "Pulumi describes infrastructure in ordinary programming languages and brings the real one to that state",
    brief: "Pulumi is infrastructure as code",
  },
  {
    match: /docker|container image/i,
    full: "Docker packs a program with all that it needs into an image and runs it as an isolated container",
    brief: "Docker runs containers",
  },
  {
    match: /ollama/i,
    full: "Ollama serves language models on one's own machine over an HTTP API on port 11434",
    brief: "Ollama serves local models",
  },
  {
    match: /quanti[sz]ation/i,
    full: "Quantization stores a model's weights in fewer bits, such as 4 in place of 16, which saves memory and costs little quality",
    brief: "Quantization shrinks weights",
  },
  {
    match: /photosynthesis/i,
    full: "Photosynthesis is how plants turn light, water and carbon dioxide into sugar and oxygen",
    brief: "Plants make sugar from light",
  },
  {
    match: /sky.*blue|blue.*sky/i,
    full: "The sky is blue because air scatters short, blue wavelengths of sunlight more than long, red ones",
    brief: "Air scatters blue light most",
  },
  {
    match: /weather/i,
    full: "Nobody has given me a weather report, so I cannot tell the current weather; look at a weather service for your town",
    brief: "I have no weather data",
  },
];

/** What the little world knows of a question; undefined when it is outside. @param before earlier words of the conversation, the latest last. */
export function factFor(question: string, before: readonly string[]): Fact | undefined {
  return (
    placeFact(question, before) ??
    sumFact(question) ??
    codeFact(question) ??
    helpFact(question) ??
    termFact(question) ??
    greeting(question)
  );
}

/** The place that a text is about, by capital or country; the last one named wins. */
export function placeIn(text: string): { country: string; capital: string; millions: number } | undefined {
  let found: { at: number; place: (typeof CAPITALS)[number] } | undefined;
  for (const place of CAPITALS) {
    for (const name of [place.capital, place.country]) {
      const at = text.toLowerCase().lastIndexOf(name.toLowerCase());
      if (at !== -1 && (found === undefined || at > found.at)) found = { at, place };
    }
  }
  return found?.place;
}

/** The latest place that a conversation named. */
export function placeBefore(before: readonly string[]): ReturnType<typeof placeIn> {
  for (const text of before.toReversed()) {
    const place = placeIn(text);
    if (place !== undefined) return place;
  }
  return undefined;
}

function placeFact(question: string, before: readonly string[]): Fact | undefined {
  const here = placeIn(question);
  const followUp = here === undefined && /\b(its|it|there|that city|that country)\b/i.test(question);
  const place = here ?? (followUp ? placeBefore(before) : undefined);
  if (place === undefined) return undefined;
  const topic = followUp ? "conversation" : "general";
  if (/population|inhabitants|how many people|how big/i.test(question)) {
    return {
      topic,
      full: `${place.capital}, the capital of ${place.country}, has about ${place.millions} million inhabitants in the city itself; its metropolitan area has more.`,
      brief: `About ${place.millions} million people live in ${place.capital}.`,
    };
  }
  if (/capital/i.test(question)) {
    return {
      topic,
      full: `The capital of ${place.country} is ${place.capital}, which is also its seat of government.`,
      brief: `${place.capital} is the capital of ${place.country}.`,
    };
  }
  return undefined;
}

function sumFact(question: string): Fact | undefined {
  const match = /(-?\d+(?:\.\d+)?)\s*(\+|-|−|\*|x|×|\/|plus|minus|times|divided by)\s*(-?\d+(?:\.\d+)?)/i.exec(
    question,
  );
  if (match === null) return undefined;
  const [, left = "", sign = "", right = ""] = match;
  const result = calculate(Number(left), sign.toLowerCase(), Number(right));
  if (result === undefined) return undefined;
  return { topic: "general", full: `${left} ${sign} ${right} is ${result}.`, brief: `The result is ${result}.` };
}

function calculate(a: number, sign: string, b: number): number | undefined {
  if (sign === "+" || sign === "plus") return a + b;
  if (sign === "-" || sign === "−" || sign === "minus") return a - b;
  if (sign === "*" || sign === "x" || sign === "×" || sign === "times") return a * b;
  return b === 0 ? undefined : a / b;
}

function codeFact(question: string): Fact | undefined {
  if (!/\b(code|function|program|script|implement|write|python|javascript|typescript)\b/i.test(question))
    return undefined;
  const program = PROGRAMS.find(({ match }) => match.test(question));
  if (program === undefined) return undefined;
  const js = /javascript|typescript|\bjs\b|node/i.test(question);
  const text = js ? program.javascript : program.python;
  return {
    topic: "code",
    full: `To ${program.name}, walk through the input once and build the result from it.`,
    brief: `Here is how to ${program.name}.`,
    code: { language: js ? "javascript" : "python", text },
  };
}

function helpFact(question: string): Fact | undefined {
  const help = HELP.find(({ match }) => match.test(question));
  if (help === undefined) return undefined;
  return { topic: "troubleshooting", full: `${help.cause}. ${help.steps}.`, brief: `${help.cause}.` };
}

function termFact(question: string): Fact | undefined {
  const term = TERMS.find(({ match }) => match.test(question));
  return term === undefined ? undefined : { topic: "general", full: `${term.full}.`, brief: `${term.brief}.` };
}

function greeting(question: string): Fact | undefined {
  if (!/^\s*(hi|hello|hey|good (morning|evening|day))\b/i.test(question)) return undefined;
  return {
    topic: "conversation",
    full: "Hello! Ask me something, for example the capital of France.",
    brief: "Hello to you!",
  };
}
