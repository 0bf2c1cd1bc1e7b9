// The process that holds a test's machines: commands as lines of JSON on standard input, one answer each on standard output.
// It runs inside of the lab, started through isolated().
import { createInterface } from "node:readline";
import { z } from "zod";
import { createMachineDriver } from "../../../infra/lab/nodes/driver.ts";

const MachineCommand = z.strictObject({
  id: z.int(),
  call: z.enum(["start", "shutdown", "stop", "state", "interfaces", "discardDisk"]),
  spec: z.strictObject({
    vmId: z.int(),
    name: z.string(),
    cores: z.int(),
    memoryMib: z.int(),
    bootDiskPath: z.string(),
    diskSizeBytes: z.int(),
    nics: z.array(z.strictObject({ name: z.string(), macAddress: z.string(), bridge: z.string() })),
    cdromPaths: z.array(z.string()),
  }),
});
type MachineCommand = z.output<typeof MachineCommand>;

const [lab = "", stateDir = "", rootfs = ""] = process.argv.slice(2);
const driver = createMachineDriver({ lab, stateDir, rootfsOf: (key) => (key === "test" ? rootfs : undefined) });

async function answer({ call, spec }: MachineCommand): Promise<unknown> {
  switch (call) {
    case "start":
      return driver.start(spec, () => undefined);
    case "shutdown":
      return driver.shutdown(spec.vmId, 20_000, () => undefined);
    case "stop":
      return driver.stop(spec.vmId, () => undefined);
    case "state":
      return driver.state(spec.vmId);
    case "interfaces":
      return driver.interfaces(spec.vmId);
    case "discardDisk":
      return driver.discardDisk(spec.bootDiskPath);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = MachineCommand.parse(JSON.parse(line));
  void answer(command).then(
    (value) => console.log(JSON.stringify({ id: command.id, value: value ?? null })),
    (error: unknown) =>
      console.log(JSON.stringify({ id: command.id, error: error instanceof Error ? error.message : String(error) })),
  );
}
await driver.close();
