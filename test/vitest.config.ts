import { defineConfig } from "vitest/config";

/** Pure and recorded tests; what boots machines is in system.config.ts. */
export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["test/{unit,graph,contract}/**/*.test.ts"],
    setupFiles: ["test/support/properties.ts"],
    expect: { requireAssertions: true },
    testTimeout: 20_000,
  },
});
