import { availableParallelism, cpus, freemem, loadavg, totalmem } from "node:os";
import type { Lab } from "../lab.ts";

/** A node's figures, those of the machine that the lab runs on. */
export async function nodeFigures(lab: Lab): Promise<Record<string, unknown>> {
  const space = await lab.datastores.all()[0]?.space();
  const total = totalmem();
  return {
    node: lab.node,
    status: "online",
    cpu: Math.min(1, (loadavg()[0] ?? 0) / availableParallelism()),
    maxcpu: availableParallelism(),
    mem: total - freemem(),
    maxmem: total,
    disk: space?.usedBytes ?? 0,
    maxdisk: space?.totalBytes ?? 0,
    uptime: uptimeSeconds(lab),
    level: "",
  };
}

/** `GET nodes/{node}/status`. */
export async function nodeStatus(lab: Lab): Promise<Record<string, unknown>> {
  const total = totalmem();
  const free = freemem();
  const space = await lab.datastores.all()[0]?.space();
  const processors = cpus();
  return {
    cpuinfo: {
      cores: availableParallelism(),
      cpus: availableParallelism(),
      sockets: 1,
      model: processors[0]?.model ?? "unknown",
      mhz: String(processors[0]?.speed ?? 0),
      flags: "",
      hvm: "1",
      user_hz: 100,
    },
    cpu: Math.min(1, (loadavg()[0] ?? 0) / availableParallelism()),
    memory: { total, free, used: total - free },
    swap: { total: 0, free: 0, used: 0 },
    rootfs: {
      total: space?.totalBytes ?? 0,
      used: space?.usedBytes ?? 0,
      avail: space?.availableBytes ?? 0,
      free: space?.availableBytes ?? 0,
    },
    loadavg: loadavg().map((load) => load.toFixed(2)),
    uptime: uptimeSeconds(lab),
    pveversion: `pve-manager/${lab.version.version}/${lab.version.repoid}`,
    kversion: "Linux (lab)",
    wait: 0,
    idle: 0,
  };
}

function uptimeSeconds(lab: Lab): number {
  return Math.floor((lab.now() - lab.startedAt) / 1000);
}
