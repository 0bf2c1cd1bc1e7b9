import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readIfPresent, writeFileAtomically } from "./atomic-file.ts";
import type { GuestInterface, MachineDriver, MachineSpec, MachineState } from "./machines.ts";

const RunSchema = z.object({
  vmId: z.number(),
  startedAtMs: z.number(),
  nics: z.array(z.object({ name: z.string(), macAddress: z.string() })),
});

/**
 * Machines that are only written down: a start makes a record that says "running", a stop removes it. For tests, and to try the API without
 * anything that could boot. Records survive the process.
 * @param addressesOf addresses of each card (`net0`) of a VM, as its configuration says; none means that no agent answers
 */
export async function createRecordMachines(
  directory: string,
  now: () => number,
  addressesOf: (vmId: number) => ReadonlyMap<string, GuestInterface["addresses"]>,
): Promise<MachineDriver> {
  await mkdir(directory, { recursive: true });
  for (const file of await readdir(directory))
    if (file.endsWith(".tmp")) await rm(join(directory, file), { force: true });
  const pathOf = (vmId: number) => join(directory, `${vmId}.json`);
  const read = async (vmId: number) => {
    const text = await readIfPresent(pathOf(vmId));
    return text === undefined ? undefined : RunSchema.parse(JSON.parse(text));
  };
  return {
    async start(spec: MachineSpec, log): Promise<void> {
      const nics = spec.nics.map(({ name, macAddress }) => ({ name, macAddress }));
      await writeFileAtomically(pathOf(spec.vmId), JSON.stringify({ vmId: spec.vmId, startedAtMs: now(), nics }));
      log(`VM ${spec.vmId} is a record only: nothing boots`);
    },
    async shutdown(vmId): Promise<void> {
      await rm(pathOf(vmId), { force: true });
    },
    async stop(vmId): Promise<void> {
      await rm(pathOf(vmId), { force: true });
    },
    async state(vmId): Promise<MachineState> {
      const run = await read(vmId);
      if (run === undefined) return { status: "stopped" };
      return {
        status: "running",
        pid: RECORD_PID_BASE + vmId,
        uptimeSeconds: Math.max(0, Math.floor((now() - run.startedAtMs) / 1000)),
        memoryBytes: 0,
      };
    },
    async interfaces(vmId): Promise<GuestInterface[]> {
      const run = await read(vmId);
      const addresses = addressesOf(vmId);
      if (run === undefined || addresses.size === 0) return [];
      const loopback: GuestInterface = {
        name: "lo",
        macAddress: "00:00:00:00:00:00",
        addresses: [{ address: "127.0.0.1", prefix: 8, family: "ipv4" }],
      };
      const cards = run.nics.map(({ name, macAddress }, index) => ({
        name: `eth${index}`,
        macAddress,
        addresses: addresses.get(name) ?? [],
      }));
      return [loopback, ...cards];
    },
    async discardDisk(): Promise<void> {},
    async close(): Promise<void> {},
  };
}

/** Records have no process; their pid only needs to be a number that no other record has. */
const RECORD_PID_BASE = 100_000;
