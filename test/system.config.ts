import { defineConfig } from "vitest/config";

/** Real engine, real machines, real Kubernetes: one file at a time, with time to boot. */
export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["test/system/**/*.test.ts"],
    expect: { requireAssertions: true },
    fileParallelism: false,
    // Each step of the lab stands on the one before; and a broken lab is not worth an hour of waiting.
    bail: 1,
    testTimeout: 300_000,
    hookTimeout: 1_200_000,
  },
});
