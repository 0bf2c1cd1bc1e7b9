export * from "./catalogue.ts";
export * from "./ensemble-config.ts";
export * from "./errors.ts";
export * from "./native.ts";
export * from "./ollama.ts";
export * from "./openai.ts";
export * from "./horn.ts";
export * from "./horn-config.ts";
