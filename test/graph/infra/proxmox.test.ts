import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { HostKey, HostPool, NodeVm, type NodeVmArgs, UbuntuImage } from "../../../infra/index.ts";
import {
  brokenRules,
  isKnown,
  isSecret,
  type RecordedGraph,
  settled,
  startGraph,
  UNKNOWN,
} from "../../support/graph.ts";
import { CANARY, type Ground, ground, HOSTS, publicKeyOf, stubs } from "./stubs.ts";

const VM = "proxmoxve:index/vmLegacy:VmLegacy";
const FILE = "proxmoxve:index/fileLegacy:FileLegacy";
const IMAGE = "proxmoxve:download/file:File";
const COMMAND = "command:local:Command";

function master(base: Ground, change: Partial<NodeVmArgs> = {}): NodeVm {
  const { host, image, plan, clientKey, opts } = base;
  return new NodeVm(
    "k3s-master",
    { host, image, plan, clientKey, hostKey: new HostKey("k3s-master-key", {}, opts), ...change },
    opts,
  );
}

function broken(graph: RecordedGraph): string[] {
  return brokenRules(graph, [CANARY.privateKey, CANARY.apiToken]);
}

test("a pool has one provider a host, the token secret", async () => {
  const graph = await startGraph(stubs);
  const pool = new HostPool("hosts", { hosts: HOSTS, apiToken: CANARY.apiToken });
  await graph.settle();
  const providers = graph.ofType("pulumi:providers:proxmoxve");
  expect(providers.map((p) => p.name)).toEqual(["hosts-thinkcentre-1", "hosts-thinkcentre-2", "hosts-thinkcentre-3"]);
  expect(providers.map((p) => p.inputs["endpoint"])).toEqual(HOSTS.map((h) => h.endpoint));
  expect(providers.every((p) => p.secrets.includes("apiToken"))).toBe(true);
  expect(providers.some((p) => "insecure" in p.inputs)).toBe(false);
  expect(pool.host("thinkcentre-2")).toMatchObject({
    datastore: "local-lvm",
    imageDatastore: "local",
    bridge: "vmbr0",
  });
  expect(broken(graph)).toEqual([]);
});

test("a cluster has one provider for all its hosts", async () => {
  const graph = await startGraph(stubs);
  const hosts = HOSTS.map((h) => ({ ...h, endpoint: "https://192.168.1.211:8006", cluster: "home" }));
  const pool = new HostPool("hosts", { hosts, apiToken: CANARY.apiToken });
  await graph.settle();
  expect(graph.ofType("pulumi:providers:proxmoxve").map((p) => p.name)).toEqual(["hosts-home"]);
  expect(new Set(pool.hosts.map((h) => h.provider)).size).toBe(1);
});

test("removing a host renames nobody", async () => {
  const graph = await startGraph(stubs);
  new HostPool("hosts", { hosts: HOSTS.slice(1), apiToken: CANARY.apiToken });
  await graph.settle();
  expect(graph.ofType("pulumi:providers:proxmoxve").map((p) => p.name)).toEqual([
    "hosts-thinkcentre-2",
    "hosts-thinkcentre-3",
  ]);
});

test.each([
  [
    "a token of another form",
    { apiToken: "hush" },
    /apiToken: got a value of another form \(not shown\), want user@realm!name=uuid/,
  ],
  ["no token", { apiToken: "" }, /apiToken: got nothing/],
  ["no hosts", { hosts: [] }, /want at least one host/],
  [
    "an endpoint without TLS",
    { hosts: [{ ...HOSTS[0], endpoint: "http://192.168.1.211:8006" }] },
    /https:\/\/192\.168\.1\.211:8006/,
  ],
  ["a typing error", { hosts: [{ ...HOSTS[0], brdige: "vmbr1" }] }, /brdige/],
  ["a host twice", { hosts: [HOSTS[0], HOSTS[0]] }, /is there twice/],
])("a pool refuses %s", async (_, change, message) => {
  await startGraph(stubs);
  const args = { hosts: HOSTS, apiToken: CANARY.apiToken, ...change } as never;
  expect(() => new HostPool("hosts", args)).toThrow(message);
  expect(() => new HostPool("hosts", args)).not.toThrow(/hush/);
});

test("a host that is not there is named with those that are", async () => {
  await startGraph(stubs);
  expect(() => ground().pool.host("thinkcentre-4")).toThrow(
    /got "thinkcentre-4", want one of thinkcentre-1, thinkcentre-2, thinkcentre-3/,
  );
});

test("each host downloads the pinned image", async () => {
  const graph = await startGraph(stubs);
  const base = ground();
  await graph.settle();
  const files = graph.ofType(IMAGE);
  expect(files.map((f) => f.name)).toEqual(["ubuntu-thinkcentre-1", "ubuntu-thinkcentre-2", "ubuntu-thinkcentre-3"]);
  expect(files[0]?.inputs).toMatchObject({ contentType: "import", datastoreId: "local", overwriteUnmanaged: true });
  expect(files[0]?.inputs["url"]).toMatch(/^https:\/\/cloud-images\.ubuntu\.com\/releases\/noble\/release-\d{8}\//);
  expect(files[0]?.inputs).toMatchObject({ checksumAlgorithm: "sha256" });
  expect(files[0]?.options.deleteBeforeReplace).toBe(true);
  expect(base.image.on(base.host).fileId).toBe("local:import/gorkheavy-ubuntu-24.04.qcow2");
  expect(broken(graph)).toEqual([]);
});

test.each([
  ["sha256", { sha256: "abc" }, /64 hexadecimal digits/],
  ["fileName", { fileName: "ubuntu.img" }, /\.qcow2, \.raw or \.vmdk/],
  ["url", { url: "file:///etc/passwd" }, /http or https/],
  ["timeoutSeconds", { timeoutSeconds: 1.5 }, /timeoutSeconds/],
])("an image refuses a wrong %s", async (_, change, message) => {
  await startGraph(stubs);
  const { pool } = ground();
  expect(() => new UbuntuImage("other", { hosts: pool.hosts, ...change })).toThrow(message);
});

test("a checksum is handed on as SHA-256", async () => {
  const graph = await startGraph(stubs);
  const { host } = ground();
  new UbuntuImage("checked", { hosts: [host], sha256: "a".repeat(64) });
  await graph.settle();
  expect(graph.named("checked-thinkcentre-1").inputs).toMatchObject({
    checksum: "a".repeat(64),
    checksumAlgorithm: "sha256",
  });
});

test("a VM is the seed's", async () => {
  const graph = await startGraph(stubs);
  const vm = master(ground());
  await graph.settle();
  const made = graph.named("k3s-master", VM);
  expect(made.inputs).toEqual({
    nodeName: "thinkcentre-1",
    vmId: 201,
    name: "k3s-master",
    tags: ["gorkheavy", "k3s"],
    onBoot: true,
    started: true,
    stopOnDestroy: true,
    operatingSystem: { type: "l26" },
    agent: { enabled: false },
    cpu: { cores: 4, type: "x86-64-v2-AES" },
    memory: { dedicated: 8192 },
    scsiHardware: "virtio-scsi-single",
    disks: [
      {
        interface: "scsi0",
        datastoreId: "local-lvm",
        importFrom: "local:import/gorkheavy-ubuntu-24.04.qcow2",
        size: 32,
        iothread: true,
        discard: "on",
        ssd: true,
      },
    ],
    cdrom: { interface: "ide2", fileId: "local:iso/k3s-master-201-seed.iso" },
    bootOrders: ["scsi0"],
    networkDevices: [{ bridge: "vmbr0", model: "virtio", macAddress: "BC:24:11:00:00:C9", firewall: false }],
  });
  expect(made.options).toMatchObject({ protect: true, deleteBeforeReplace: true });
  expect(vm.address).toBe("192.168.1.201");
  expect(broken(graph)).toEqual([]);
});

test("a VM waits for its image and its seed", async () => {
  const graph = await startGraph(stubs);
  master(ground());
  await graph.settle();
  const waitsFor = graph.named("k3s-master", VM).options.dependsOn.map((urn) => urn.split("::").at(-1));
  expect(waitsFor).toEqual(
    expect.arrayContaining(["ubuntu-thinkcentre-1", "k3s-master-seed", "k3s-master-seed-remove"]),
  );
});

test("nothing that a VM takes is unknown at the first preview, so nothing that changes later can re-create it", async () => {
  const graph = await startGraph(stubs, { preview: true });
  const vm = master(ground());
  await graph.settle();
  expect(graph.named("k3s-master", VM).unknowns).toEqual([]);
  expect(graph.named("k3s-master-seed", FILE).inputs["sourceFile"]).toEqual({
    path: UNKNOWN,
    fileName: "k3s-master-201-seed.iso",
  });
  expect(await isKnown(pulumi.output(vm.target.hostKey))).toBe(false);
  expect(broken(graph)).toEqual([]);
});

test("preview and up have the same resources", async () => {
  const namesOf = async (preview: boolean): Promise<string[]> => {
    const graph = await startGraph(stubs, { preview });
    master(ground());
    await graph.settle();
    return graph.all.map((r) => `${r.type} ${r.name}`).sort();
  };
  expect(await namesOf(true)).toEqual(await namesOf(false));
});

test("the seed travels by standard input and is removed after the upload", async () => {
  const graph = await startGraph(stubs);
  master(ground());
  await graph.settle();
  const write = graph.named("k3s-master-seed-write", COMMAND);
  expect(write.secrets).toEqual(["stdin"]);
  expect(write.inputs).toMatchObject({ logging: "none", addPreviousOutputInEnv: false });
  expect(String(write.inputs["create"])).toContain("/var/tmp/gorkheavy-gorkheavy-test");
  const file = graph.named("k3s-master-seed", FILE);
  expect(file.inputs).toMatchObject({ contentType: "iso", datastoreId: "local", nodeName: "thinkcentre-1" });
  expect(file.options).toMatchObject({ deleteBeforeReplace: true, ignoreChanges: ["sourceFile.changed"] });
  const remove = graph.named("k3s-master-seed-remove", COMMAND);
  expect(remove.inputs["create"]).toBe(write.inputs["delete"]);
  expect(remove.options.dependsOn).toContain(file.urn);
  expect(file.options.dependsOn).toContain(write.urn);
});

test("more memory is one changed input of the VM, and of nothing else beside it", async () => {
  const inputsWith = async (memoryMib: number): Promise<Map<string, string>> => {
    const graph = await startGraph(stubs);
    master(ground(), { memoryMib });
    await graph.settle();
    return new Map(graph.all.map((r) => [`${r.type} ${r.name}`, JSON.stringify(r.inputs)]));
  };
  const [before, after] = [await inputsWith(8192), await inputsWith(10_240)];
  const changed = [...before].filter(([name, inputs]) => after.get(name) !== inputs).map(([name]) => name);
  expect(changed).toEqual([`${VM} k3s-master`]);
  expect(after.get(`${VM} k3s-master`)).toContain('"memory":{"dedicated":10240}');
});

test("another seed changes the upload, and nothing of the VM", async () => {
  const inputsWith = async (packages: string[]): Promise<Map<string, string>> => {
    const graph = await startGraph(stubs);
    master(ground(), { packages });
    await graph.settle();
    return new Map(graph.all.map((r) => [`${r.type} ${r.name}`, JSON.stringify(r.inputs)]));
  };
  const [before, after] = [await inputsWith([]), await inputsWith(["htop"])];
  const changed = [...before].filter(([name, inputs]) => after.get(name) !== inputs).map(([name]) => name);
  expect(changed.sort()).toEqual([
    `${COMMAND} k3s-master-seed-remove`,
    `${COMMAND} k3s-master-seed-write`,
    `${FILE} k3s-master-seed`,
  ]);
});

test("with the firewall on, the three ports of K3s and SSH are open", async () => {
  const graph = await startGraph({
    ...stubs,
    "proxmoxve:firewall/rulesLegacy:RulesLegacy": () => ({}),
    "proxmoxve:firewall/optionsLegacy:OptionsLegacy": () => ({}),
  });
  master(ground(), { firewall: true });
  await graph.settle();
  const rules = graph.named("k3s-master-firewall-rules").inputs["rules"];
  expect(rules).toMatchObject([
    { dport: "22", proto: "tcp" },
    { dport: "6443", proto: "tcp" },
    { dport: "10250", proto: "tcp" },
    { dport: "8472", proto: "udp", source: "192.168.1.0/24" },
  ]);
  expect(graph.named("k3s-master", VM).inputs["networkDevices"]).toMatchObject([{ firewall: true }]);
  expect(graph.named("k3s-master-firewall").inputs).toMatchObject({ enabled: true, inputPolicy: "DROP" });
});

test.each([
  [
    "hostName that the plan lacks",
    { hostName: "k3s-worker-9" },
    /got "k3s-worker-9", which the address plan does not have; it has k3s-master, k3s-worker-1, k3s-worker-2/,
  ],
  ["user root", { user: "root" }, /other than root/],
  ["cores of nothing", { cores: 0 }, /cores/],
  ["memoryMib in bytes", { memoryMib: 0.5 }, /memoryMib/],
  ["diskGib below the image", { diskGib: 2 }, /diskGib/],
  ["workDir that is relative", { workDir: "tmp" }, /absolute path/],
])("a VM refuses a %s", async (_, change, message) => {
  await startGraph(stubs);
  expect(() => master(ground(), change)).toThrow(message);
});

test("a key pair is made once, its private half secret", async () => {
  const graph = await startGraph(stubs);
  const { clientKey } = ground();
  expect(await settled(clientKey.publicKey)).toBe(`ssh-ed25519 ${publicKeyOf("client-key")}`);
  expect(await isSecret(clientKey.privateKey)).toBe(true);
  expect(await isSecret(clientKey.publicKey)).toBe(false);
  expect(await settled(clientKey.privateKey)).toContain(CANARY.privateKey);
  await graph.settle();
  const made = graph.named("client-key", COMMAND);
  expect(made.options.additionalSecretOutputs).toEqual(["stdout"]);
  expect(made.options.ignoreChanges).toContain("create");
  expect(made.inputs["logging"]).toBe("none");
  expect(broken(graph)).toEqual([]);
});
