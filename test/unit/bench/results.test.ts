import { expect, test } from "vitest";
import { withSection } from "../../bench/results.ts";

const page = "# Results\n\nWords.\n\n## One\n\nfirst\n\n## Two\n\nsecond\n";

test("a section is replaced and its neighbours stay", () => {
  expect(withSection(page, "One", "\nagain\n")).toBe("# Results\n\nWords.\n\n## One\n\nagain\n\n## Two\n\nsecond\n");
  expect(withSection(page, "Two", "again")).toBe("# Results\n\nWords.\n\n## One\n\nfirst\n\n## Two\n\nagain\n");
});

test("one that is not there yet comes last", () => {
  expect(withSection(page, "Three", "third")).toBe(`${page}\n## Three\n\nthird\n`);
});

test("written twice it is there once", () => {
  const once = withSection(page, "Three", "third");
  expect(withSection(once, "Three", "third")).toBe(once);
});
