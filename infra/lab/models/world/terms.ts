import type { Entry } from "./entry.ts";

/** A word, the sentence that explains it, and the short one. */
const TERMS: readonly (readonly [term: string, full: string, brief: string])[] = [
  [
    "K3s",
    "K3s is a certified, light Kubernetes distribution that comes as one binary and suits small machines.",
    "K3s is a light Kubernetes.",
  ],
  [
    "Kubernetes",
    "Kubernetes runs containers on a group of machines: it places them, restarts them when they fail, connects them and scales them.",
    "Kubernetes orchestrates containers.",
  ],
  [
    "Proxmox",
    "Proxmox VE is a server platform on Debian that manages virtual machines and containers through a web page and an API.",
    "Proxmox VE runs virtual machines.",
  ],
  [
    "Pulumi",
    "Pulumi describes infrastructure in ordinary programming languages and brings the real one to that state.",
    "Pulumi is infrastructure as code.",
  ],
  [
    "Docker",
    "Docker packs a program with all that it needs into an image and runs it as an isolated container.",
    "Docker runs containers.",
  ],
  [
    "Ollama",
    "Ollama serves language models on your own machine over an HTTP API on port 11434.",
    "Ollama serves local models.",
  ],
  [
    "quantization",
    "Quantization stores a model's weights in fewer bits, such as 4 in place of 16, which saves memory and costs little quality.",
    "Quantization shrinks a model's weights.",
  ],
  [
    "GGUF",
    "GGUF is a file format that holds a language model's weights, its tokenizer and its settings in one file.",
    "GGUF is a file format for models.",
  ],
  [
    "a token",
    "A token is the piece of text that a language model reads and writes at a time, about four letters of English.",
    "A token is a piece of text.",
  ],
  [
    "a context window",
    "The context window is how many tokens a language model can look at in one call, the prompt and its answer together.",
    "It is how much text a model can see.",
  ],
  [
    "a language model",
    "A language model is a program that has learned from much text how to go on with a text, token by token.",
    "It is a program that continues text.",
  ],
  [
    "a Pod",
    "A Pod is the smallest thing that Kubernetes runs: one or more containers that share an address and volumes.",
    "A Pod is a group of containers.",
  ],
  [
    "a Deployment",
    "A Deployment keeps a number of equal Pods running and replaces them step by step when their template changes.",
    "A Deployment keeps Pods running.",
  ],
  [
    "a Service",
    "A Service gives a group of Pods one name and one address and spreads the connections over those that are ready.",
    "A Service is one address for many Pods.",
  ],
  [
    "a ConfigMap",
    "A ConfigMap holds settings as plain text that Pods read as files or environment variables.",
    "A ConfigMap holds settings.",
  ],
  [
    "a Secret",
    "A Secret holds passwords, tokens and keys apart from the program, and can be encrypted where it is stored.",
    "A Secret holds passwords and keys.",
  ],
  [
    "a namespace",
    "A namespace divides a Kubernetes cluster into parts whose names, limits and rules are kept apart.",
    "A namespace divides a cluster.",
  ],
  [
    "a kubelet",
    "The kubelet is the agent on each Kubernetes node that starts the Pods given to it and reports how they are.",
    "The kubelet runs Pods on a node.",
  ],
  [
    "etcd",
    "etcd is the key-value store in which Kubernetes keeps the whole state of a cluster.",
    "etcd stores the cluster's state.",
  ],
  ["a taint", "A taint keeps Pods away from a node unless they tolerate it.", "A taint keeps Pods away from a node."],
  [
    "a liveness probe",
    "A liveness probe asks a container whether it still works, and Kubernetes restarts it when it does not answer.",
    "It restarts a container that hangs.",
  ],
  [
    "a readiness probe",
    "A readiness probe asks a container whether it can take requests, and a Service sends it none until it can.",
    "It says when a Pod may get requests.",
  ],
  [
    "cloud-init",
    "cloud-init sets up a new machine at its first boot: its name, its network, its users and its keys.",
    "cloud-init sets up new machines.",
  ],
  [
    "SSH",
    "SSH is a protocol for working on another machine over an encrypted connection, with keys in place of passwords.",
    "SSH is an encrypted remote shell.",
  ],
  [
    "DNS",
    "DNS turns names such as example.org into the addresses that computers use.",
    "DNS turns names into addresses.",
  ],
  [
    "TLS",
    "TLS encrypts a connection and proves with a certificate who is at the other end.",
    "TLS encrypts connections.",
  ],
  [
    "a firewall",
    "A firewall lets through only the network traffic that its rules allow.",
    "A firewall filters traffic.",
  ],
  [
    "a virtual machine",
    "A virtual machine is a whole computer in software, with an operating system of its own, that shares real hardware with others.",
    "It is a computer in software.",
  ],
  [
    "a container",
    "A container is a process with its own files, network and limits that shares the kernel with its host.",
    "A container is an isolated process.",
  ],
  ["an API", "An API is the set of calls by which one program uses another.", "An API is how programs talk."],
  [
    "JSON",
    "JSON is a text format for data made of objects, lists, strings, numbers, true, false and null.",
    "JSON is a text format for data.",
  ],
  ["YAML", "YAML is a text format for settings that shows structure by indentation.", "YAML is a format for settings."],
  [
    "TypeScript",
    "TypeScript is JavaScript with types that are checked before the program runs.",
    "TypeScript is JavaScript with types.",
  ],
  [
    "Python",
    "Python is a programming language with a short, readable syntax and a large standard library.",
    "Python is a programming language.",
  ],
  [
    "a variable",
    "A variable is a name for a value that a program can read and change.",
    "A variable is a named value.",
  ],
  [
    "recursion",
    "Recursion is when a function calls itself on a smaller part of the problem until nothing is left to divide.",
    "Recursion is a function that calls itself.",
  ],
  [
    "a hash table",
    "A hash table finds a value by its key in about the same time however many it holds.",
    "A hash table finds values by key.",
  ],
  [
    "a prime number",
    "A prime number is a whole number greater than one that only one and itself divide.",
    "Only one and itself divide it.",
  ],
  [
    "photosynthesis",
    "Photosynthesis is how plants turn light, water and carbon dioxide into sugar and oxygen.",
    "Plants make sugar from light.",
  ],
  [
    "gravity",
    "Gravity is the force by which masses attract each other; it keeps the planets on their ways around the sun.",
    "Gravity pulls masses together.",
  ],
  [
    "an atom",
    "An atom is the smallest part of an element: a nucleus of protons and neutrons with electrons around it.",
    "An atom is the smallest part of an element.",
  ],
  [
    "a molecule",
    "A molecule is a group of atoms held together by chemical bonds, such as water from two of hydrogen and one of oxygen.",
    "A molecule is a group of atoms.",
  ],
  [
    "DNA",
    "DNA is the molecule in which living things keep the plan of their bodies, as a long chain of four letters.",
    "DNA is the plan of living things.",
  ],
  [
    "evolution",
    "Evolution is how living things change over generations, because those that suit their surroundings have more young.",
    "Evolution is change over generations.",
  ],
  [
    "a volcano",
    "A volcano is an opening in the earth's crust through which molten rock, ash and gas come out.",
    "A volcano lets molten rock out.",
  ],
  [
    "a rainbow",
    "A rainbow is sunlight that drops of water split into its colours and send back to the eye.",
    "It is sunlight split by water.",
  ],
  [
    "the moon",
    "The moon is the earth's only natural satellite; it goes around the earth in about 27 days.",
    "The moon goes around the earth.",
  ],
  [
    "the sun",
    "The sun is the star at the centre of our solar system; it shines because hydrogen fuses to helium in its core.",
    "The sun is our star.",
  ],
  [
    "the speed of light",
    "The speed of light in a vacuum is 299,792,458 metres a second, and nothing is faster.",
    "It is about 300,000 km a second.",
  ],
  [
    "inflation",
    "Inflation is when prices rise over time, so that the same money buys less.",
    "Inflation is when prices rise.",
  ],
  [
    "democracy",
    "Democracy is a form of government in which the people choose who rules, by free elections.",
    "In a democracy the people choose.",
  ],
];

/** Questions that have wordings of their own. */
const WHYS: readonly (readonly [
  key: string,
  question: string,
  ways: readonly string[],
  full: string,
  brief: string,
])[] = [
  [
    "sky",
    "Why is the sky blue?",
    [
      "why's the sky blue",
      "What makes the sky blue?",
      "Explain why the sky is blue.",
      "how come the sky is blue",
      "Tell me why the sky looks blue.",
    ],
    "The sky is blue because air scatters short, blue wavelengths of sunlight more than long, red ones.",
    "Air scatters blue light most.",
  ],
  [
    "seasons",
    "Why are there seasons?",
    ["what causes the seasons", "Why do we have seasons?", "Explain the seasons.", "Where do the seasons come from?"],
    "There are seasons because the earth's axis is tilted, so that each half leans towards the sun for a part of the year.",
    "The earth's axis is tilted.",
  ],
  [
    "tides",
    "Why are there tides?",
    ["what causes tides", "Why does the sea rise and fall?", "Explain the tides.", "Where do tides come from?"],
    "There are tides because the moon and the sun pull at the water of the oceans while the earth turns.",
    "The moon pulls at the sea.",
  ],
  [
    "boil",
    "At what temperature does water boil?",
    [
      "when does water boil",
      "What is the boiling point of water?",
      "boiling point of water",
      "How hot must water be to boil?",
    ],
    "Water boils at 100 degrees Celsius at sea level, and at less on a mountain.",
    "Water boils at 100 degrees Celsius.",
  ],
  [
    "freeze",
    "At what temperature does water freeze?",
    [
      "when does water freeze",
      "What is the freezing point of water?",
      "freezing point of water",
      "How cold must it be for water to freeze?",
    ],
    "Water freezes at 0 degrees Celsius, and its ice floats because it is lighter than the water.",
    "Water freezes at 0 degrees Celsius.",
  ],
  [
    "planets",
    "How many planets are there in the solar system?",
    [
      "how many planets",
      "number of planets in our solar system",
      "How many planets go around the sun?",
      "Tell me how many planets there are.",
    ],
    "There are eight planets in the solar system, from Mercury next to the sun to Neptune far away.",
    "There are eight planets.",
  ],
  [
    "continents",
    "How many continents are there?",
    ["number of continents", "how many continents does the earth have", "Tell me how many continents there are."],
    "There are seven continents: Africa, Antarctica, Asia, Australia, Europe, North America and South America.",
    "There are seven continents.",
  ],
  [
    "ocean",
    "Which ocean is the largest?",
    [
      "what is the biggest ocean",
      "largest ocean",
      "Name the largest ocean.",
      "Which is the biggest ocean of the world?",
    ],
    "The Pacific is the largest ocean; it covers about a third of the earth.",
    "The Pacific is the largest.",
  ],
  [
    "mountain",
    "Which mountain is the highest?",
    [
      "what is the highest mountain",
      "tallest mountain in the world",
      "Name the highest mountain.",
      "How is the highest mountain called?",
    ],
    "Mount Everest is the highest mountain, 8,849 metres above the sea.",
    "Mount Everest is the highest.",
  ],
];

/** Explanations of words and of how things are. */
export function termEntries(): Entry[] {
  const words = TERMS.map(([term, full, brief]): Entry => {
    const bare = term.replace(/^(?:an?|the) /, "");
    return {
      key: `term/${bare}`,
      topic: "knowledge",
      question: `What is ${term}?`,
      ways: [
        `what's ${term}`,
        `Explain ${term}.`,
        `Tell me about ${bare}`,
        `${bare}?`,
        `What does ${bare} mean?`,
        `Can you explain what ${term} is?`,
        `define ${bare}`,
        `I want to know what ${term} is.`,
        `what is ${bare.toLowerCase()}`,
      ],
      full,
      brief,
    };
  });
  const whys = WHYS.map(
    ([key, question, ways, full, brief]): Entry => ({
      key: `why/${key}`,
      topic: "knowledge",
      question,
      ways,
      full,
      brief,
    }),
  );
  return [...words, ...whys];
}
