import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Lab } from "../lab.ts";

/** Addresses of the lab, all inside its own network namespace; the same as in the seed's LAN, which they never meet. */
export const GATEWAY_ADDRESS = "192.168.1.1";
export const RELEASE_PORT = 8480;
export const PROXMOX_PORT = 8006;
/** The Proxmox hosts that the lab plays: three single hosts, as in the seed (A01). */
export const PROXMOX_HOSTS = [
  { name: "thinkcentre-1", address: "192.168.1.211" },
  { name: "thinkcentre-2", address: "192.168.1.212" },
  { name: "thinkcentre-3", address: "192.168.1.213" },
] as const;

/** The same hosts as the certificates are made for. */
export const CERTIFICATE_HOSTS = PROXMOX_HOSTS.map((host) => ({
  name: host.name,
  addresses: [host.address, "127.0.0.1"],
}));

/** What the datacentre process is started with: written by `up`, read back after a crash. Holds no secret. */
export const DatacentreConfig = z.strictObject({
  lab: z.string(),
  /** The checkout that started it. */
  root: z.string(),
  /** What the release server hands out: URL path to file. */
  files: z.record(z.string(), z.string()),
  /** Root file systems by the key that an image names. */
  rootfs: z.record(z.string(), z.string()),
  /** Full name of the runtime image that is handed out. */
  runtimeImage: z.string(),
});
export type DatacentreConfig = z.output<typeof DatacentreConfig>;

/** File with the configuration above. */
export function datacentreConfigFile(lab: Lab): string {
  return join(lab.stateDir, "datacentre.json");
}

/** File with the Proxmox API token, `user@realm!name=uuid`, readable by its owner alone. */
export function tokenFile(lab: Lab): string {
  return join(lab.stateDir, "proxmox-token");
}

/** @throws Error when the lab was never started or its configuration is unreadable */
export async function readDatacentreConfig(lab: Lab): Promise<DatacentreConfig> {
  return DatacentreConfig.parse(JSON.parse(await readFile(datacentreConfigFile(lab), "utf8")));
}
