import { PROXMOX_HOSTS, PROXMOX_PORT } from "../datacentre/config.ts";
import { callControl, Forward } from "../datacentre/control.ts";
import type { Lab } from "../lab.ts";
import { resolveK3s } from "../tools/k3s-release.ts";
import { orchestratorAddress } from "./outputs.ts";
import type { Terminal } from "./terminal.ts";

/** Brings the ensemble's API and the three Proxmox APIs to 127.0.0.1; they stay until `down`. */
export async function openLab(lab: Lab, options: { port: string }, to: Terminal): Promise<void> {
  const port = Number(options.port);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new Error(`--port: got ${JSON.stringify(options.port)}, want a whole number from 0 to 65535.`);
  const k3s = await resolveK3s(() => {});
  const api = await openPort(lab, port, await orchestratorAddress(lab, k3s.path));
  to.print(`ensemble: http://127.0.0.1:${api} (POST /api/chat, /v1/chat/completions)`);
  for (const host of PROXMOX_HOSTS) {
    const opened = await openPort(lab, 0, { host: host.address, port: PROXMOX_PORT });
    to.print(`${host.name}: https://127.0.0.1:${opened} (certificate authority: ${lab.caFile})`);
  }
}

async function openPort(lab: Lab, port: number, target: Forward["to"]): Promise<number> {
  const opened = await callControl(lab.controlSocket, "/forwards", Forward, {
    from: { host: "127.0.0.1", port },
    to: target,
  }).catch((error: unknown) => {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(
      text.includes("EADDRINUSE")
        ? `--port: 127.0.0.1:${port} is in use by another program. Choose another with --port.`
        : text,
    );
  });
  if (!("port" in opened.from)) throw new Error("datacentre: opened a socket where a port was asked for");
  return opened.from.port;
}
