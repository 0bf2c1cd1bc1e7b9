import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LAB_MODELS } from "../../../../infra/lab/models/minds.ts";
import { labWeights, WEIGHTS_DIR, weightsOf } from "../../../../infra/lab/models/weights.ts";

/** Most that all files may take together, bytes. */
const MOST_BYTES = 20_000_000;

describe("the committed weights", async () => {
  const listed = await labWeights();

  test("are listed, each with its card, and nothing else lies beside them", async () => {
    const wanted = listed.flatMap(({ file }) => [file, file.replace(/\.gguf$/, ".md")]);
    expect((await readdir(WEIGHTS_DIR)).toSorted()).toEqual([...wanted, "weights.json"].toSorted());
    expect(listed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBeLessThan(MOST_BYTES);
  });

  test.each(listed)("$name is what the manifest says, and its card names the same digest", async ({
    name,
    ...rest
  }) => {
    const model = LAB_MODELS.find((one) => one.name === name);
    if (model === undefined) throw new Error(`${name} is none of the lab's models`);
    expect({ name, ...rest }).toEqual(weightsOf(model, await readFile(join(WEIGHTS_DIR, rest.file))));
    expect(await readFile(join(WEIGHTS_DIR, rest.file.replace(/\.gguf$/, ".md")), "utf8")).toContain(rest.sha256);
  });
});
