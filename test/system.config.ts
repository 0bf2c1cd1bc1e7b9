import { defineConfig } from "vitest/config";

/** Real engine, real machines, real Kubernetes: one file at a time, with time to boot. */
export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["test/system/**/*.test.ts"],
    expect: { requireAssertions: true },
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 1_200_000,
  },
});
