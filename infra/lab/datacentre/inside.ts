// The datacentre's inner process, in the lab's own namespaces: three Proxmox APIs and the machines behind them.
// When it ends, however it ends, the kernel ends every machine with it.
import { readFile } from "node:fs/promises";
import type { Server } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { labOf } from "../lab.ts";
import { createMachineDriver } from "../nodes/driver.ts";
import { issueLabCertificates } from "../pve/certificates.ts";
import { createPve } from "../pve/index.ts";
import { forward } from "../release/forward.ts";
import {
  CERTIFICATE_HOSTS,
  GATEWAY_ADDRESS,
  PROXMOX_HOSTS,
  PROXMOX_PORT,
  RELEASE_PORT,
  readDatacentreConfig,
  tokenFile,
} from "./config.ts";
import { type Forward, serveControl } from "./control.ts";
import { type InsideStatus, insideSocket, releaseSocket } from "./inside-status.ts";
import { ProxmoxClient } from "./proxmox-client.ts";

const lab = labOf(process.argv[2]);
const token = (await readFile(tokenFile(lab), "utf8")).trim();
const certificates = await issueLabCertificates(join(lab.stateDir, "certificates"), CERTIFICATE_HOSTS);
const ca = certificates.caPem;

const driver = createMachineDriver({
  lab: lab.name,
  stateDir: lab.stateDir,
  rootfsOf: async (key) => {
    const { rootfs } = await readDatacentreConfig(lab);
    const dir = rootfs[key];
    if (dir === undefined)
      throw new Error(`image: names root file system ${key}, there is ${Object.keys(rootfs).join(", ")}`);
    return dir;
  },
});
const hosts = await Promise.all(
  PROXMOX_HOSTS.map(async (host) => {
    const tls = certificates.servers[host.name];
    if (!tls) throw new Error(`certificates: none for ${host.name}`);
    const dataDir = join(lab.stateDir, "proxmox", host.name);
    return createPve({
      node: host.name,
      address: host.address,
      port: PROXMOX_PORT,
      dataDir,
      machines: driver,
      token,
      tls,
      log,
    });
  }),
);
const clients = PROXMOX_HOSTS.map((host) => new ProxmoxClient(host, token, ca));
await forward({ host: GATEWAY_ADDRESS, port: RELEASE_PORT }, { path: releaseSocket(lab) });
for (const client of clients) for (const vmId of await client.startOnBoot()) log(`VM ${vmId}: started with its host`);
await serveControl(insideSocket(lab), { status, openForward });

const opened = new Map<string, Server>();
process.on("SIGTERM", () => void stop());
process.on("SIGINT", () => void stop());
process.stdout.write("ready\n");

async function stop(): Promise<void> {
  for (const host of hosts) await host.close();
  for (const client of clients) await client.close();
  await driver.close();
  process.exit(0);
}

async function status(): Promise<InsideStatus> {
  return { machines: (await Promise.all(clients.map((client) => client.machines()))).flat() };
}

async function openForward(wanted: Forward): Promise<Forward> {
  if (wanted.to.via) await execa("ip", ["route", "replace", `${wanted.to.host}/32`, "via", wanted.to.via]);
  const name = JSON.stringify(wanted.from);
  // The same way again, e.g. after the Service was made anew: the old end makes room.
  opened.get(name)?.close();
  opened.set(name, await forward(wanted.from, wanted.to));
  return wanted;
}

function log(line: string): void {
  process.stdout.write(`${new Date().toISOString()} ${line}\n`);
}
