import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalQuantity, withCanonicalQuantities } from "../../../../../infra/lab/plugins/kubernetes/quantity.ts";

// Pairs as a real API server v1.34 answered them.
test.each([
  ["1.5Gi", "1536Mi"],
  ["0.5Gi", "512Mi"],
  ["1024Mi", "1Gi"],
  ["512Mi", "512Mi"],
  ["1000m", "1"],
  ["0.4", "400m"],
  ["900m", "900m"],
  ["8.5", "8500m"],
  ["1000", "1k"],
  ["0.1k", "100"],
  ["1e3", "1e3"],
  ["0", "0"],
  ["0Mi", "0"],
  ["not a quantity", "not a quantity"],
])("%s is spelled %s", (given, canonical) => {
  expect(canonicalQuantity(given)).toBe(canonical);
});

test("a canonical quantity stays as it is", () => {
  const suffix = fc.constantFrom("", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti");
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.nat(999), suffix, (whole, thousandths, unit) => {
      const once = canonicalQuantity(`${whole}.${String(thousandths).padStart(3, "0")}${unit}`);
      expect(canonicalQuantity(once)).toBe(once);
    }),
  );
});

test("only quantities are touched, never the user's own words", () => {
  const container = { name: "1000m", resources: { limits: { memory: "1.5Gi" }, requests: { cpu: 0.4 } } };
  const manifest = {
    data: { limits: "1.5Gi" },
    metadata: { labels: { limits: "1000m" } },
    spec: { containers: [container] },
  };
  expect(withCanonicalQuantities(manifest)).toEqual({
    data: { limits: "1.5Gi" },
    metadata: { labels: { limits: "1000m" } },
    spec: { containers: [{ name: "1000m", resources: { limits: { memory: "1536Mi" }, requests: { cpu: "400m" } } }] },
  });
});
