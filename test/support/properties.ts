// Runs before every test file: in CI, properties are tried with the same values each time, so that a red run is about
// the change it runs on; at a desk they are tried with new ones, which is how counterexamples are found.
import fc from "fast-check";

/** Any number; a new one is a new set of values for CI. */
const CI_SEED = 20_261_121;

if (process.env["CI"] === "true") fc.configureGlobal({ seed: CI_SEED });
