import { describe, expect, test } from "vitest";
import { interruptedMachines, interruptedOperations, settle } from "../../../../infra/lab/stack/recover.ts";
import { countChanged } from "../../../../infra/lab/stack/request.ts";
import { nameOf, plain, UpdateProgress } from "../../../../infra/lab/stack/progress.ts";
import { withOverrides } from "../../../../infra/lab/stack/workspace.ts";

describe("withOverrides", () => {
  test("sets, adds and removes at dotted paths, and leaves the original alone", () => {
    const settings = { k3s: { version: "1" }, nodes: [{ name: "a" }, { name: "b" }] };
    expect(withOverrides(settings, { "k3s.sha256": "x", "nodes.1": null, "image.url": "u" })).toEqual({
      k3s: { version: "1", sha256: "x" },
      nodes: [{ name: "a" }],
      image: { url: "u" },
    });
    expect(settings.nodes).toHaveLength(2);
  });
  test("names a path that leads through a value", () => {
    expect(() => withOverrides({ k3s: "x" }, { "k3s.version.major": 1 })).toThrow("k3s.version.major");
  });
});

describe("a killed update", () => {
  const deployment = {
    pending_operations: [
      {
        type: "creating",
        resource: {
          urn: "urn:pulumi:lab::p::t$proxmoxve:index/vmLegacy:VmLegacy::w",
          type: "proxmoxve:index/vmLegacy:VmLegacy",
          inputs: { vmId: 202, nodeName: "pve" },
        },
      },
      {
        type: "creating",
        resource: {
          urn: "urn:pulumi:lab::p::kubernetes:core/v1:Secret::s",
          type: "kubernetes:core/v1:Secret",
          inputs: {},
        },
      },
      {
        type: "updating",
        resource: {
          urn: "urn:pulumi:lab::p::t$proxmoxve:index/vmLegacy:VmLegacy::m",
          type: "proxmoxve:index/vmLegacy:VmLegacy",
          inputs: { vmId: 201, nodeName: "pve" },
        },
      },
    ],
  };
  test("leaves operations that can be told", () => {
    expect(interruptedOperations(deployment).map((o) => o.operation)).toEqual(["creating", "creating", "updating"]);
    expect(interruptedOperations({})).toEqual([]);
  });
  test("leaves only machines in creation to be taken over", () => {
    expect(interruptedMachines(interruptedOperations(deployment))).toEqual([
      { urn: "urn:pulumi:lab::p::t$proxmoxve:index/vmLegacy:VmLegacy::w", vmId: "202", nodeName: "pve" },
    ]);
  });
});

test("settles what a killed update had begun", () => {
  const vm = {
    urn: "urn:vm",
    type: "proxmoxve:index/vmLegacy:VmLegacy",
    inputs: { vmId: 202, nodeName: "pve" },
    parent: "urn:p",
  };
  const other = { urn: "urn:other", type: "kubernetes:core/v1:Secret", inputs: {} };
  const deployment = {
    manifest: {},
    resources: [{ urn: "urn:p" }],
    pending_operations: [vm, other].map((resource) => ({ type: "creating", resource })),
  };
  expect(settle(deployment, ["urn:vm"])).toEqual({
    manifest: {},
    pending_operations: [],
    resources: [{ urn: "urn:p" }, { ...vm, id: "202", outputs: vm.inputs }],
  });
  expect(settle(deployment, [])).toEqual({ manifest: {}, pending_operations: [], resources: [{ urn: "urn:p" }] });
});

test("counts what changed and not what stayed", () => {
  expect(countChanged({ same: 40, create: 2, update: 1, read: 1 })).toBe(3);
});

describe("UpdateProgress", () => {
  const urn = "urn:pulumi:lab::gorkheavy::gorkheavy:infra:NodeVm$proxmoxve:index/vmLegacy:VmLegacy::k3s-master";
  test("tells what was done, to what and how long it took", () => {
    const said: string[] = [];
    let nowMs = 0;
    const progress = new UpdateProgress(
      (line) => said.push(line),
      () => nowMs,
    );
    const metadata = { urn, type: "proxmoxve:index/vmLegacy:VmLegacy", op: "create" };
    progress.onEvent({ sequence: 1, timestamp: 0, resourcePreEvent: { metadata } } as never);
    nowMs = 2100;
    progress.onEvent({ sequence: 2, timestamp: 2, resOutputsEvent: { metadata } } as never);
    expect(said).toEqual(["created k3s-master (VmLegacy) 2.1 s"]);
  });
  test("says what a long step waits for, now and again", () => {
    const said: string[] = [];
    let nowMs = 0;
    const progress = new UpdateProgress(
      (line) => said.push(line),
      () => nowMs,
    );
    progress.onEvent({ resourcePreEvent: { metadata: { urn, type: "x", op: "create" } } } as never);
    for (; nowMs <= 25_000; nowMs += 1000) {
      progress.onEvent({
        diagnosticEvent: { urn, message: `Dial ${nowMs}`, color: "raw", severity: "info", ephemeral: true },
      } as never);
    }
    expect(said).toEqual(["  k3s-master: Dial 10000", "  k3s-master: Dial 20000"]);
  });
  test("keeps the errors, without colour", () => {
    const progress = new UpdateProgress(() => {});
    progress.onEvent({
      sequence: 1,
      timestamp: 0,
      diagnosticEvent: { urn, message: "<{%fg 1%}>error:<{%reset%}> no such host\n", color: "raw", severity: "error" },
    });
    expect(progress.errors).toEqual(["k3s-master: error: no such host"]);
  });
  test("reads names and plain text", () => {
    expect(nameOf(urn)).toBe("k3s-master");
    expect(plain("\u001b[31mred\u001b[0m")).toBe("red");
  });
});
