import { expect, test } from "vitest";
import { poolProblems, tokenProblem } from "../../../../infra/proxmox/host-pool.ts";

const uuid = "11111111-2222-3333-4444-555555555555";
const host = {
  name: "thinkcentre-1",
  endpoint: "https://192.168.1.211:8006",
  node: "thinkcentre-1",
  datastore: "local-lvm",
  imageDatastore: "local",
  bridge: "vmbr0",
};

test.each([`root@pam!lab=${uuid}`, `deploy@pve!gork-heavy.1=${uuid.toUpperCase()}`])("takes the token %s", (token) => {
  expect(tokenProblem(token)).toBeUndefined();
});

test.each([
  "",
  undefined,
  `root@pam=${uuid}`,
  `root!lab=${uuid}`,
  "root@pam!lab=hush-hush-hush",
  `PVEAPIToken=root@pam!lab=${uuid}`,
  `root@pam!lab=${uuid}\n`,
])("refuses %j without showing it", (token) => {
  const problem = tokenProblem(token) ?? "";
  expect(problem).toMatch(/want user@realm!name=uuid/);
  expect(problem).not.toContain("hush");
  expect(problem).not.toContain(uuid);
});

test("three single hosts are fine, and so is one cluster", () => {
  const second = { ...host, name: "thinkcentre-2", endpoint: "https://192.168.1.212:8006" };
  expect(poolProblems([host, second])).toEqual([]);
  expect(
    poolProblems([
      { ...host, cluster: "home" },
      { ...second, endpoint: host.endpoint, cluster: "home" },
    ]),
  ).toEqual([]);
});

test.each([
  ["a name twice", [host, { ...host, endpoint: "https://192.168.1.9:8006" }], /"thinkcentre-1" is there twice/],
  [
    "an endpoint twice",
    [host, { ...host, name: "other" }],
    /hosts\.other\.endpoint: got https:\/\/192\.168\.1\.211:8006, which thinkcentre-1 has/,
  ],
  [
    "a cluster at two endpoints",
    [
      { ...host, cluster: "home" },
      { ...host, name: "b", cluster: "home", endpoint: "https://b:8006" },
    ],
    /cluster "home" is at/,
  ],
  [
    "a host called like a cluster",
    [
      { ...host, cluster: "home" },
      { ...host, name: "home", endpoint: "https://b:8006" },
    ],
    /a cluster has this name too/,
  ],
])("names %s", (_, hosts, message) => {
  expect(poolProblems(hosts).join("\n")).toMatch(message);
});
