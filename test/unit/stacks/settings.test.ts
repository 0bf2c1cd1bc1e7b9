import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { SettingsError } from "../../../stacks/errors.ts";
import { parseSettings } from "../../../stacks/settings.ts";

const ROOT = join(import.meta.dirname, "../../..");
const StackFile = z.object({ config: z.looseObject({ "gorkheavy:settings": z.record(z.string(), z.unknown()) }) });

async function settingsOf(stack: string): Promise<Record<string, unknown>> {
  const text = await readFile(join(ROOT, "stacks/config", `Pulumi.${stack}.yaml`), "utf8");
  return StackFile.parse(parse(text)).config["gorkheavy:settings"];
}

/** The homelab's settings with the value at a path replaced (`undefined` takes it out). */
async function changed(...changes: [path: string, value: unknown][]): Promise<unknown> {
  const settings = await settingsOf("homelab");
  for (const [path, value] of changes) {
    const steps = path.split(".");
    const last = steps.pop() ?? "";
    const place = steps.reduce<object>(
      (inner, step) =>
        z.looseObject({}).or(z.array(z.unknown())).parse(Reflect.get(inner, step)) &&
        (Reflect.get(inner, step) as object),
      settings,
    );
    if (value === undefined) Reflect.deleteProperty(place, last);
    else Reflect.set(place, last, value);
  }
  return settings;
}

function refusal(raw: unknown): string {
  try {
    parseSettings(raw);
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
  throw new Error("these settings were not refused");
}

test.each(["lab", "homelab"])("the committed settings of %s are the seed's machines", async (stack) => {
  const settings = parseSettings(await settingsOf(stack));
  expect(settings.nodes).toEqual(
    [
      ["k3s-master", "server", "thinkcentre-1", 201],
      ["k3s-worker-1", "agent", "thinkcentre-2", 202],
      ["k3s-worker-2", "agent", "thinkcentre-3", 203],
    ].map(([name, role, host, vmId]) => {
      return { name, role, host, vmId, address: `192.168.1.${vmId}`, cores: 4, memoryMib: 8192, diskGib: 32 };
    }),
  );
  expect(settings.hosts.map(({ endpoint, datastore, bridge }) => [endpoint, datastore, bridge])).toEqual([
    ["https://192.168.1.211:8006", "local-lvm", "vmbr0"],
    ["https://192.168.1.212:8006", "local-lvm", "vmbr0"],
    ["https://192.168.1.213:8006", "local-lvm", "vmbr0"],
  ]);
});

test("lab and homelab differ in where things come from, and in nothing of the machines", async () => {
  const [lab, homelab] = await Promise.all([settingsOf("lab"), settingsOf("homelab")]);
  expect(lab["hosts"]).toEqual(homelab["hosts"]);
  expect(lab["nodes"]).toEqual(homelab["nodes"]);
});

test("fills in the seed's sizes", async () => {
  const bare = { name: "k3s-worker-1", role: "agent", host: "thinkcentre-2", vmId: 202, address: "192.168.1.202" };
  const { nodes, ssh } = parseSettings(await changed(["nodes.1", bare], ["ssh", undefined]));
  expect(nodes[1]).toEqual({ ...bare, cores: 4, memoryMib: 8192, diskGib: 32 });
  expect(ssh.user).toBe("gorkheavy");
});

test.each<[string, [string, unknown][], RegExp]>([
  [
    "a duplicate address",
    [["nodes.1.address", "192.168.1.201"]],
    /^gorkheavy:settings\.nodes\.k3s-worker-1\.address: got 192\.168\.1\.201, which nodes\.k3s-master\.address has; give/,
  ],
  [
    "a foreign address",
    [["nodes.1.address", "10.0.0.2"]],
    /^gorkheavy:settings\.nodes\.k3s-worker-1\.address: got 10\.0\.0\.2, which is not in 192\.168\.1\.0\/24; take one from/,
  ],
  ["the gateway's address", [["nodes.1.address", "192.168.1.1"]], /got 192\.168\.1\.1, which network\.gateway has/],
  [
    "a Proxmox host's address",
    [["nodes.1.address", "192.168.1.212"]],
    /^gorkheavy:settings\.hosts\[1\]\.endpoint: got "https:\/\/192\.168\.1\.212:8006", which nodes\.k3s-worker-1\.address has; give/,
  ],
  [
    "two VMs with one id",
    [["nodes.2.vmId", 202]],
    /^gorkheavy:settings\.nodes\.k3s-worker-2\.vmId: got 202, which nodes\.k3s-worker-1\.vmId has; give/,
  ],
  [
    "a VM id that Proxmox does not allow",
    [["nodes.2.vmId", 99]],
    /^gorkheavy:settings\.nodes\.k3s-worker-2\.vmId: got 99, want a whole number from 100 to 999999999; for example 201$/,
  ],
  [
    "two nodes of one name",
    [["nodes.2.name", "k3s-worker-1"]],
    /nodes\.k3s-worker-1: two nodes have this name; give each its own/,
  ],
  [
    "a node on no host",
    [["nodes.2.host", "thinkcentre-9"]],
    /^gorkheavy:settings\.nodes\[2\]\.host: got "thinkcentre-9", want the name of one of hosts: thinkcentre-1, thinkcentre-2, thinkcentre-3$/,
  ],
  [
    "two servers",
    [["nodes.2.role", "server"]],
    /^gorkheavy:settings\.nodes: 2 of them have the role server, want exactly 1; give the others the role agent/m,
  ],
  [
    "an unknown role",
    [["nodes.2.role", "worker"]],
    /^gorkheavy:settings\.nodes\[2\]\.role: got "worker", want server or agent$/,
  ],
  [
    "two hosts of one endpoint",
    [["hosts.1.endpoint", "https://192.168.1.211:8006"]],
    /^gorkheavy:settings\.hosts\[1\]\.endpoint: got "https:\/\/192\.168\.1\.211:8006", which hosts\[0\]\.endpoint has/m,
  ],
  [
    "an endpoint without TLS",
    [["hosts.0.endpoint", "http://192.168.1.211:8006"]],
    /^gorkheavy:settings\.hosts\[0\]\.endpoint: got "http:.*want an https URL/,
  ],
  [
    "an endpoint that is none",
    [["hosts.0.endpoint", "thinkcentre"]],
    /^gorkheavy:settings\.hosts\[0\]\.endpoint: got "thinkcentre", want an https URL/,
  ],
  [
    "an address that is none",
    [["nodes.1.address", "192.168.1"]],
    /^gorkheavy:settings\.nodes\.k3s-worker-1\.address: got "192\.168\.1", want an IPv4 address from/,
  ],
  [
    "an unknown profile",
    [["ensemble.profile", "turbo"]],
    /^gorkheavy:settings\.ensemble\.profile: got "turbo", want default or seed$/,
  ],
  [
    "an unknown member",
    [["ensemble.members", { oracle: {} }]],
    /^gorkheavy:settings\.ensemble\.members\.oracle: got \{\}, want one of promptimizer, llama, qwen, qwen-small, judge$/,
  ],
  [
    "an unknown model",
    [["ensemble.members", { llama: { model: "gpt:9b" } }]],
    /^gorkheavy:settings\.ensemble\.members\.llama\.model: got "gpt:9b", want one of granite4:350m, .*; for another model give its sizeBytes or all its resources too$/,
  ],
  [
    "half a digest",
    [["ensemble.members", { llama: { digest: "c4c4" } }]],
    /^gorkheavy:settings\.ensemble\.members\.llama\.digest: got "c4c4", want 64 lower-case hexadecimal digits/,
  ],
  [
    "an old Ollama",
    [["ensemble.ollamaImage", "docker.io/ollama/ollama:0.16.0"]],
    /^gorkheavy:settings\.ensemble\.ollamaImage: got "docker.*release 0\.16\.0 is too old; want a tag of 0\.17\.1 or newer.*CVE-2026-7482/,
  ],
  [
    "weights larger than their limit",
    [["ensemble.members", { llama: { sizeBytes: 3e9 } }]],
    /^gorkheavy:settings\.ensemble\.members\.llama\.resources\.limits\.memoryMib: got nothing, the weights have 2862Mi/,
  ],
  [
    "a store of a kind that is none",
    [["ensemble.store", { kind: "cloud" }]],
    /^gorkheavy:settings\.ensemble\.store\.kind: got "cloud"/,
  ],
  [
    "a limit below its request",
    [["ensemble.members", { llama: { resources: { limits: { memoryMib: 512 } } } }]],
    /^gorkheavy:settings\.ensemble\.members\.llama\.resources\.limits\.memoryMib: got 512, limit 512 is below its request 1024; raise the limit or lower the request$/,
  ],
  [
    "an ensemble that does not fit",
    [
      ["nodes.1.memoryMib", 4096],
      ["nodes.2.memoryMib", 4096],
    ],
    /^gorkheavy:settings\.nodes: the ensemble does not fit without k3s-worker-1: .*short of 1664Mi of memory on each of them; give/,
  ],
  [
    "an image that moves",
    [["ensemble.image", "ghcr.io/gorkheavy/runtime:latest"]],
    /^gorkheavy:settings\.ensemble\.image: got "ghcr.*want a tag other than 'latest'/,
  ],
  [
    "a K3s channel",
    [["k3s.version", "stable"]],
    /^gorkheavy:settings\.k3s\.version: got "stable", want an exact version/,
  ],
  [
    "a misspelt setting",
    [["ensemble.profil", "seed"]],
    /^gorkheavy:settings\.ensemble\.profil: there is no such setting; check its spelling or take it out$/,
  ],
  ["a missing setting", [["network", undefined]], /^gorkheavy:settings\.network: got nothing, want an object$/],
  ["text for a number", [["nodes.0.cores", "4"]], /^gorkheavy:settings\.nodes\[0\]\.cores: got "4", want a number$/],
])("refuses %s by its name, with what it got", async (_, changes, message) => {
  const text = refusal(await changed(...changes));
  expect(text).toMatch(message);
  expect(text.split("\n")).toHaveLength(1);
});

test("lists everything that is wrong at once, one line each", async () => {
  const lines = refusal(await changed(["nodes.1.cores", 0], ["ensemble.profile", "x"])).split("\n");
  expect(lines).toHaveLength(2);
});

test("refuses a stack without settings", () => {
  expect(refusal(undefined)).toBe("gorkheavy:settings: got nothing, want an object");
});
