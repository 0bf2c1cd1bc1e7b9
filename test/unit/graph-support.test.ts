import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { brokenRules, isKnown, settled, startGraph, UNKNOWN } from "../support/graph.ts";

class Thing extends pulumi.CustomResource {
  declare readonly answer: pulumi.Output<string>;
  constructor(name: string, args: Record<string, unknown>, opts?: pulumi.CustomResourceOptions) {
    super("demo:index:Thing", name, { answer: undefined, ...args }, opts);
  }
}

class Box extends pulumi.ComponentResource {
  readonly thing: Thing;
  constructor(name: string, child: string, args: Record<string, unknown>, opts?: pulumi.CustomResourceOptions) {
    super("gorkheavy:test:Box", name, {}, {});
    this.thing = new Thing(child, args, { parent: this, ...opts });
    this.registerOutputs({ answer: this.thing.answer });
  }
}

const stubs = { "demo:index:Thing": () => ({ outputs: { answer: "forty-two" } }) };

test("an unstubbed type is thrown by every look", async () => {
  const graph = await startGraph({});
  new Box("box", "box", {});
  await expect(graph.settle()).rejects.toThrow(/no stub for resource type demo:index:Thing/);
  expect(() => graph.all).toThrow(/no stub/);
});

test("records inputs, secrets and outputs", async () => {
  const graph = await startGraph(stubs);
  const box = new Box("box", "box-thing", { token: pulumi.secret("hush"), size: 3, none: undefined });
  expect(await settled(box.thing.answer)).toBe("forty-two");
  await graph.settle();
  const thing = graph.named("box-thing");
  expect(thing.inputs).toEqual({ token: "hush", size: 3 });
  expect(thing.secrets).toEqual(["token"]);
  expect(graph.childrenOf(graph.named("box"))).toEqual([thing]);
  expect(graph.outputsOf(graph.named("box"))).toEqual({ answer: "forty-two" });
  expect(brokenRules(graph, ["hush"])).toEqual(["box-thing (demo:index:Thing) takes a default provider"]);
});

test("a preview knows no ids and no outputs", async () => {
  const graph = await startGraph(stubs, { preview: true });
  const first = new Box("box", "box", {});
  new Box("next", "next-thing", { from: first.thing.id });
  expect(await isKnown(first.thing.id)).toBe(false);
  await expect(settled(first.thing.answer)).rejects.toThrow(/unknown/);
  await graph.settle();
  expect(graph.named("next-thing").inputs).toEqual({ from: UNKNOWN });
  expect(graph.named("next-thing").unknowns).toEqual(["from"]);
});

test("names each broken rule", async () => {
  const graph = await startGraph(stubs);
  new Box("box", "other", { token: "hush" });
  new Thing("loose", {});
  await graph.settle();
  expect(brokenRules(graph, ["hush"]).sort()).toEqual([
    "loose (demo:index:Thing) has no parent component",
    "loose (demo:index:Thing) takes a default provider",
    "other (demo:index:Thing) does not start with its parent's name, box",
    "other (demo:index:Thing) takes a default provider",
    "secret number 1 is in plain text",
  ]);
});
