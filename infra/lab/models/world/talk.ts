import type { Entry } from "./entry.ts";

const TALK: readonly (readonly [
  key: string,
  question: string,
  ways: readonly string[],
  full: string,
  brief: string,
])[] = [
  [
    "hello",
    "Hello!",
    ["hi", "hello", "hey there", "Good morning!", "Good evening", "Hi, how are you?"],
    "Hello! Ask me something, for example the capital of France.",
    "Hello to you!",
  ],
  [
    "thanks",
    "Thank you!",
    ["thanks", "thank you very much", "thx", "Thanks, that helped."],
    "You are welcome. Ask me more if you like.",
    "You are welcome.",
  ],
  [
    "bye",
    "Goodbye!",
    ["bye", "see you", "good night", "Goodbye then"],
    "Goodbye, and come back with more questions.",
    "Goodbye!",
  ],
  [
    "who",
    "Who are you?",
    ["what are you", "Are you a human?", "which model are you", "Tell me who you are."],
    "I am one of five very small language models that were trained on a little world of some hundred questions.",
    "I am a very small language model.",
  ],
  [
    "can",
    "What can you do?",
    ["what do you know", "help", "What can I ask you?", "what are you good at"],
    "I know capitals, small sums, words of computing and nature, short programs, and what to do when a cluster fails.",
    "I answer questions about a little world.",
  ],
  [
    "weather",
    "What is the weather like?",
    ["What's the weather?", "weather today", "Will it rain tomorrow?", "how is the weather"],
    "Nobody has given me a weather report, so I cannot tell; look at a weather service for your town.",
    "I have no weather report.",
  ],
  [
    "time",
    "What time is it?",
    ["what's the time", "time please", "Tell me the time.", "what day is it"],
    "I have no clock, so I cannot tell; look at the clock of your machine.",
    "I have no clock.",
  ],
];

/** Small talk. */
export function talkEntries(): Entry[] {
  return TALK.map(
    ([key, question, ways, full, brief]): Entry => ({ key: `talk/${key}`, topic: "talk", question, ways, full, brief }),
  );
}
