import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AddressPlanError, type AddressPlanInput, planAddresses } from "../../../../infra/proxmox/address-plan.ts";

const seedPlan: AddressPlanInput = {
  subnet: "192.168.1.0/24",
  gateway: "192.168.1.1",
  nodes: [
    { name: "k3s-master", address: "192.168.1.201", vmId: 201 },
    { name: "k3s-worker-1", address: "192.168.1.202", vmId: 202 },
    { name: "k3s-worker-2", address: "192.168.1.203", vmId: 203 },
  ],
};

function problemsOf(input: AddressPlanInput): readonly string[] {
  try {
    planAddresses(input);
  } catch (error) {
    if (error instanceof AddressPlanError) return error.problems;
    throw error;
  }
  return [];
}

test("takes the seed's addresses, with its name servers", () => {
  const plan = planAddresses(seedPlan);
  expect(plan.prefix).toBe(24);
  expect(plan.dns).toEqual(["8.8.8.8", "8.8.4.4"]);
  expect(plan.nodes).toEqual(seedPlan.nodes);
});

describe("names the setting, what it got and what to do", () => {
  const [master, first, second] = seedPlan.nodes;
  if (master === undefined || first === undefined || second === undefined) throw new Error("three nodes");
  const cases: [string, Partial<AddressPlanInput>, RegExp][] = [
    [
      "a duplicate address",
      { nodes: [master, { ...first, address: master.address }] },
      /nodes\.k3s-worker-1\.address: got 192\.168\.1\.201, which nodes\.k3s-master\.address has; give each/,
    ],
    [
      "a foreign address",
      { nodes: [{ ...master, address: "192.168.2.201" }] },
      /nodes\.k3s-master\.address: got 192\.168\.2\.201, which is not in 192\.168\.1\.0\/24; take one from 192\.168\.1\.1 to 192\.168\.1\.254/,
    ],
    ["the gateway's address", { nodes: [{ ...master, address: "192.168.1.1" }] }, /which network\.gateway has/],
    ["the broadcast address", { nodes: [{ ...master, address: "192.168.1.255" }] }, /the broadcast address/],
    ["the network's address", { nodes: [{ ...master, address: "192.168.1.0" }] }, /the network address/],
    [
      "no address",
      { nodes: [{ ...master, address: "192.168.1.300" }] },
      /got "192\.168\.1\.300", want an IPv4 address from/,
    ],
    ["a foreign gateway", { gateway: "10.0.0.1" }, /network\.gateway: got 10\.0\.0\.1, which is not in/],
    [
      "two VMs of one id",
      { nodes: [master, { ...first, vmId: 201 }] },
      /nodes\.k3s-worker-1\.vmId: got 201, which nodes\.k3s-master\.vmId has/,
    ],
    ["an id too small", { nodes: [{ ...master, vmId: 99 }] }, /vmId: got 99, want a whole number from 100/],
    ["a fractional id", { nodes: [{ ...master, vmId: 200.5 }] }, /vmId: got 200\.5/],
    ["two nodes of one name", { nodes: [master, { ...first, name: "k3s-master" }] }, /two nodes have this name/],
    ["no nodes", { nodes: [] }, /nodes: got none, want at least one/],
    ["no subnet", { subnet: "192.168.1.0" }, /network\.subnet: got "192\.168\.1\.0", want an IPv4 network such as/],
    ["a subnet in the middle", { subnet: "192.168.1.7/24" }, /this network starts at 192\.168\.1\.0\/24/],
    ["a prefix that is none", { subnet: "192.168.1.0/33" }, /prefix from 8 to 30/],
    ["a name server that is a name", { dns: ["dns.google"] }, /network\.dns\[0\]: got "dns\.google"/],
    ["no name server", { dns: [] }, /network\.dns: got none/],
    [
      "too many nodes",
      { subnet: "192.168.1.200/30", gateway: "192.168.1.201", nodes: [master, first, second] },
      /room for 1 beside its gateway/,
    ],
  ];
  test.each(cases)("%s", (_, change, message) => {
    expect(problemsOf({ ...seedPlan, ...change }).join("\n")).toMatch(message);
  });
});

test("lists every problem at once", () => {
  const problems = problemsOf({
    ...seedPlan,
    gateway: "10.0.0.1",
    nodes: [{ name: "a", address: "10.0.0.2", vmId: 1 }],
  });
  expect(problems).toHaveLength(3);
});

test("whatever it accepts is distinct and inside the subnet", () => {
  const octet = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(octet, fc.integer({ min: 98, max: 110 })), { maxLength: 6 }),
      octet,
      (hosts, gateway) => {
        const nodes = hosts.map(([host, vmId], i) => ({ name: `n${i}`, address: `10.1.2.${host}`, vmId }));
        const accepted = problemsOf({ subnet: "10.1.2.0/24", gateway: `10.1.2.${gateway}`, nodes }).length === 0;
        const addresses = [gateway, ...hosts.map(([host]) => host)];
        const ids = hosts.map(([, id]) => id);
        const good =
          hosts.length > 0 &&
          new Set(addresses).size === addresses.length &&
          addresses.every((a) => a > 0 && a < 255) &&
          new Set(ids).size === ids.length &&
          ids.every((id) => id >= 100);
        return accepted === good;
      },
    ),
  );
  expect(problemsOf(seedPlan)).toEqual([]);
});
