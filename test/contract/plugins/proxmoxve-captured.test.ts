import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as forward } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { createProxmoxvePlugin } from "../../../infra/lab/plugins/proxmoxve/plugin.ts";
import type { CreateCall, Properties, ProviderPlugin } from "../../../infra/lab/plugins/provider.ts";
import { createPve, issueLabCertificates } from "../../../infra/lab/pve/index.ts";
import type { Pve } from "../../../infra/lab/pve/index.ts";
import { qcow2, TOKEN } from "../pve/served-pve.ts";

const FILE = "proxmoxve:index/fileLegacy:FileLegacy";
const POOL = "proxmoxve:index/poolLegacy:PoolLegacy";
const VM = "proxmoxve:index/vmLegacy:VmLegacy";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1c3RlcmJ1c3RlcmJ1c3RlcmJ1c3RlcmJ1c3RlcmJ1c3Q me@home";

let root: string;
let pve: Pve;
let proxy: ReturnType<typeof createServer>;
let seen: string[];
let plugin: ProviderPlugin;

/** The lab's API behind a listener that writes down each request, and hands it on. */
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gorkheavy-captured-"));
  const certificates = await issueLabCertificates(root, [{ name: "pve", addresses: ["127.0.0.1"] }]);
  const tls = certificates.servers["pve"];
  if (tls === undefined) throw new Error("no certificate");
  const log = (): void => undefined;
  const dataDir = path.join(root, "data");
  pve = await createPve({
    node: "pve",
    address: "127.0.0.1",
    port: 0,
    dataDir,
    machines: undefined,
    token: TOKEN,
    tls,
    log,
  });
  seen = [];
  proxy = createServer({ cert: tls.certPem, key: tls.keyPem }, (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const body = Buffer.concat(chunks);
      const multipart = incoming.headers["content-type"]?.startsWith("multipart/") === true;
      const line = `${incoming.method ?? ""} ${(incoming.url ?? "").replace("/api2/json", "")} ${multipart ? "<multipart>" : body.toString()}`;
      // Polls are told apart by nothing but their number, which is a matter of time.
      if (!line.includes("/tasks/") && seen.at(-1) !== line.trimEnd()) seen.push(line.trimEnd());
      const { method, headers, url } = incoming;
      const target = { host: "127.0.0.1", port: pve.port, path: url, method, headers, ca: certificates.caPem };
      const sent = forward(target, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.statusMessage, answer.headers);
        answer.pipe(outgoing);
      });
      sent.end(body);
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  plugin = createProxmoxvePlugin({ SSL_CERT_FILE: certificates.caFile });
  const { port } = proxy.address() as AddressInfo;
  await plugin.configure({ endpoint: `https://127.0.0.1:${port}`, apiToken: TOKEN }, {});
});

afterEach(async () => {
  proxy.closeAllConnections();
  proxy.close();
  await pve.close();
  await rm(root, { recursive: true, force: true });
});

function call(type: string, inputs: Properties): CreateCall {
  const signal = new AbortController().signal;
  return { urn: "u", type, name: "n", inputs, preview: false, timeoutMs: 0, signal, log: () => undefined };
}

/** What bpg's provider v0.111.1 sent for the same actions; see the fixture's own words. Clones are left out. */
async function captured(): Promise<string[]> {
  const file = path.join(import.meta.dirname, "../pve/provider-requests.json");
  const schema = z.looseObject({
    requests: z.array(z.looseObject({ method: z.string(), path: z.string(), body: z.string().optional() })),
  });
  const { requests } = schema.parse(JSON.parse(await readFile(file, "utf8")));
  const lines = requests.map(({ method, path: below, body }) => `${method} ${below} ${body ?? ""}`.trimEnd());
  const clone = lines.findIndex((line) => line.includes("/clone"));
  const afterClone = lines.findIndex(
    (line, index) => index > clone && line === "GET /nodes/pve/qemu/9000/status/current",
  );
  return [...lines.slice(0, clone), ...lines.slice(afterClone)];
}

async function upload(contentType: string, fileName: string, content: Buffer) {
  const source = path.join(root, fileName);
  await writeFile(source, content);
  const inputs = { nodeName: "pve", datastoreId: "local", contentType, sourceFile: { path: source } };
  return plugin.create(call(FILE, inputs));
}

const disk = { interface: "scsi0", datastoreId: "local-lvm", importFrom: "local:import/ubuntu.qcow2" };

test("the same actions make the requests that the real provider made", { timeout: 60_000 }, async () => {
  const seed = await upload("iso", "seed.iso", Buffer.from("seed"));
  const image = await upload("import", "ubuntu.qcow2", qcow2(3.5 * 1024 ** 3));
  await plugin.read({ ...call(FILE, seed.properties), id: seed.id, properties: seed.properties });
  const pool = await plugin.create(call(POOL, { poolId: "lab", comment: "c" }));
  const inputs: Properties = {
    nodeName: "pve",
    vmId: 201,
    name: "k3s-master",
    description: "a test",
    tags: ["k3s", "gorkheavy"],
    poolId: "lab",
    agent: { enabled: true },
    cpu: { cores: 4, type: "x86-64-v2-AES" },
    memory: { dedicated: 8192 },
    operatingSystem: { type: "l26" },
    bootOrders: ["scsi0"],
    disks: [{ ...disk, size: 32, ssd: true, discard: "on" }],
    cdrom: { interface: "ide3", fileId: "local:iso/seed.iso" },
    networkDevices: [{ bridge: "vmbr0" }],
    serialDevices: [{}],
    initialization: {
      dns: { servers: ["1.1.1.1"] },
      ipConfigs: [{ ipv4: { address: "192.168.1.201/24", gateway: "192.168.1.1" } }],
      userAccount: { username: "gorkheavy", keys: [KEY] },
    },
  };
  const vm = await plugin.create(call(VM, inputs));
  const read = async (properties: Properties) =>
    (await plugin.read({ ...call(VM, inputs), id: "201", properties }))?.properties ?? {};
  let state = await read(vm.properties);
  const change = async (news: Properties) => {
    const common = { ...call(VM, news), id: "201", olds: state, oldInputs: inputs, news, ignoreChanges: [] };
    expect(await plugin.diff(common)).toMatchObject({ changes: true, replaces: [] });
    state = await read((await plugin.update(common)).properties);
    expect(await plugin.diff({ ...common, olds: state })).toMatchObject({ changes: false });
    return news;
  };
  const more = await change({ ...inputs, tags: ["k3s", "gorkheavy", "more"], memory: { dedicated: 10_240 } });
  await change({ ...more, disks: [{ ...disk, size: 64, ssd: true, discard: "on" }] });
  const template = { nodeName: "pve", vmId: 9000, name: "tpl", template: true, disks: [disk], networkDevices: [{}] };
  const base = await plugin.create(call(VM, template));

  await plugin.delete({ ...call(VM, {}), id: "9000", properties: base.properties, inputs: {} });
  await plugin.delete({ ...call(VM, {}), id: "201", properties: state, inputs: {} });
  expect(await plugin.read({ ...call(VM, inputs), id: "201", properties: state })).toBeUndefined();
  await plugin.delete({ ...call(POOL, {}), id: pool.id, properties: pool.properties, inputs: {} });
  for (const { id, properties } of [seed, image])
    await plugin.delete({ ...call(FILE, {}), id, properties, inputs: {} });
  expect(seen).toEqual(await captured());
});
