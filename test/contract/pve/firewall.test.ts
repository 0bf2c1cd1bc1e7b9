import { afterEach, beforeEach, expect, test } from "vitest";
import { record, records, servePve } from "./served-pve.ts";
import type { ServedPve } from "./served-pve.ts";

let served: ServedPve;
beforeEach(async () => {
  served = await servePve();
  await served.task("POST", "/nodes/pve/qemu", { vmid: 100 });
});
afterEach(() => served.close());
const VM = "/nodes/pve/qemu/100/firewall";

test("a VM's options are numbers and texts, and can be unset", async () => {
  await served.call("PUT", `${VM}/options`, { enable: 1, policy_in: "DROP", log_level_in: "nolog" });
  await served.call("PUT", `${VM}/options`, { delete: "log_level_in", dhcp: 0 });
  const { digest, ...options } = record((await served.call("GET", `${VM}/options`)).data);
  expect(options).toEqual({ enable: 1, policy_in: "DROP", dhcp: 0 });
  expect(digest).toMatch(/^[0-9a-f]{40}$/);
  expect((await served.call("PUT", `${VM}/options`, { policy_in: "MAYBE" })).errors).toHaveProperty("policy_in");
  expect((await served.call("GET", "/nodes/pve/qemu/999/firewall/options")).status).toBe(500);
});

test("rules are added in front, moved, changed and removed by position", async () => {
  for (const dport of ["6443", "10250", "8472"]) {
    await served.call("POST", `${VM}/rules`, {
      action: "ACCEPT",
      type: "in",
      proto: dport === "8472" ? "udp" : "tcp",
      dport,
      enable: 1,
    });
  }
  const ports = async () =>
    records((await served.call("GET", `${VM}/rules`)).data).map(({ pos, dport }) => [pos, dport]);
  expect(await ports()).toEqual([
    [0, "8472"],
    [1, "10250"],
    [2, "6443"],
  ]);
  await served.call("PUT", `${VM}/rules/2`, { moveto: 0 });
  expect(await ports()).toEqual([
    [0, "6443"],
    [1, "8472"],
    [2, "10250"],
  ]);
  await served.call("PUT", `${VM}/rules/0`, { comment: "K3s API", delete: "proto" });
  expect((await served.call("GET", `${VM}/rules/0`)).data).toEqual({
    action: "ACCEPT",
    type: "in",
    dport: "6443",
    enable: 1,
    comment: "K3s API",
    pos: "0",
    digest: expect.stringMatching(/./) as unknown,
  });
  await served.call("DELETE", `${VM}/rules/0`);
  expect(await ports()).toEqual([
    [0, "8472"],
    [1, "10250"],
  ]);
  expect((await served.call("GET", `${VM}/rules/7`)).errors).toEqual({ pos: "no rule at position 7" });
});

test("security groups, aliases and IP sets of the cluster", async () => {
  await served.call("POST", "/cluster/firewall/groups", { group: "k3s", comment: "c" });
  await served.call("POST", "/cluster/firewall/groups/k3s", { action: "ACCEPT", type: "in", dport: "6443" });
  expect(records((await served.call("GET", "/cluster/firewall/groups")).data)).toEqual([
    expect.objectContaining({ group: "k3s", comment: "c" }),
  ]);
  expect((await served.call("DELETE", "/cluster/firewall/groups/k3s")).reason).toBe(
    "security group 'k3s' is not empty",
  );
  await served.call("DELETE", "/cluster/firewall/groups/k3s/0");
  expect((await served.call("DELETE", "/cluster/firewall/groups/k3s")).status).toBe(200);
  expect((await served.call("GET", "/cluster/firewall/groups/k3s")).reason).toBe("no such security group 'k3s'");

  await served.call("POST", "/cluster/firewall/aliases", { name: "pods", cidr: "10.42.0.0/16" });
  expect((await served.call("GET", "/cluster/firewall/aliases/pods")).data).toMatchObject({
    name: "pods",
    cidr: "10.42.0.0/16",
    ipversion: 4,
  });
  await served.call("PUT", "/cluster/firewall/aliases/pods", { cidr: "fd00::/64", rename: "pods6" });
  expect((await served.call("GET", "/cluster/firewall/aliases")).data).toEqual([
    expect.objectContaining({ name: "pods6", ipversion: 6 }),
  ]);

  await served.call("POST", "/cluster/firewall/ipset", { name: "nodes" });
  await served.call("POST", "/cluster/firewall/ipset/nodes", { cidr: "192.168.1.0/24", nomatch: 1 });
  expect((await served.call("GET", "/cluster/firewall/ipset/nodes")).data).toEqual([
    { cidr: "192.168.1.0/24", nomatch: 1 },
  ]);
  expect((await served.call("DELETE", "/cluster/firewall/ipset/nodes/192.168.1.0%2F24")).status).toBe(200);
  expect((await served.call("DELETE", "/cluster/firewall/ipset/nodes")).status).toBe(200);
});

test("a VM's settings go with it", async () => {
  await served.call("PUT", `${VM}/options`, { enable: 1 });
  await served.task("DELETE", "/nodes/pve/qemu/100");
  await served.task("POST", "/nodes/pve/qemu", { vmid: 100 });
  expect(record((await served.call("GET", `${VM}/options`)).data)).not.toHaveProperty("enable");
});
