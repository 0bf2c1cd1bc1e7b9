import { expect, test } from "vitest";
import { GATEWAY_ADDRESS, RELEASE_PORT } from "../../../infra/lab/datacentre/config.ts";
import { labWeights } from "../../../infra/lab/models/weights.ts";
import { CATALOGUE } from "../../../runtime/contracts/index.ts";
import { parseSettings } from "../../../stacks/settings.ts";
import { committedSettings } from "../../graph/stacks/program.ts";

test("the lab's stack runs each place's own weights, pinned to the committed file, from the lab's release server", async () => {
  const { ensemble } = parseSettings(await committedSettings("lab"));
  const weights = await labWeights();
  expect(weights.map(({ place }) => place).toSorted()).toEqual(CATALOGUE.map(({ name }) => name).toSorted());
  expect(ensemble.backend).toBe("llama");
  for (const { place, name, file, sha256, sizeBytes } of weights) {
    expect(ensemble.members.find((member) => member.name === place)).toMatchObject({
      model: name,
      source: `http://${GATEWAY_ADDRESS}:${RELEASE_PORT}/models/${file}`,
      digest: sha256,
      sizeBytes,
      resources: CATALOGUE.find((entry) => entry.name === place)?.resources,
    });
  }
});
