import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TOKEN, clientOf, record, records } from "./served-pve.ts";
import type { ServedPve } from "./served-pve.ts";

// Each test starts the server several times, each in a process of its own.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 30_000 });

let root: string;
let child: ChildProcess;
let api: Pick<ServedPve, "call" | "raw" | "task" | "settled">;

async function start(): Promise<void> {
  child = spawn(
    process.execPath,
    [join(import.meta.dirname, "serve-forever.ts"), join(root, "data"), join(root, "certificates"), TOKEN],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  if (child.stdout === null) throw new Error("no output");
  const line: string = await new Promise((done) =>
    child.stdout?.once("data", (bytes: Buffer) => done(bytes.toString())),
  );
  api = clientOf(Number(line.trim()), await readFile(join(root, "certificates", "ca.pem"), "utf8"));
}
async function kill(): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "gorkheavy-pve-kill-"));
  await start();
});
afterEach(async () => {
  await kill();
  await rm(root, { recursive: true, force: true });
});

test("a killed server comes back with the same VMs, pools, volumes, tasks and certificates", async () => {
  const made = await api.task("POST", "/nodes/pve/qemu", {
    vmid: 201,
    name: "k3s-master",
    cores: 4,
    scsi0: "local-lvm:1",
    net0: "virtio,bridge=vmbr0",
    onboot: 1,
    description: "a\nb",
  });
  await api.call("POST", "/pools", { poolid: "lab", comment: "ours" });
  await api.call("PUT", "/pools", { poolid: "lab", vms: 201 });
  await api.task("POST", "/nodes/pve/qemu/201/status/start");
  await api.call("PUT", "/nodes/pve/qemu/201/config", { cores: 8 });
  const look = async () => ({
    config: (await api.call("GET", "/nodes/pve/qemu/201/config")).data,
    live: (await api.call("GET", "/nodes/pve/qemu/201/config", { current: 1 })).data,
    status: record((await api.call("GET", "/nodes/pve/qemu/201/status/current")).data)["status"],
    pools: (await api.call("GET", "/pools", { poolid: "lab" })).data,
    volumes: (await api.call("GET", "/nodes/pve/storage/local-lvm/content")).data,
    task: (await api.call("GET", `/nodes/pve/tasks/${encodeURIComponent(made.upid)}/status`)).data,
  });
  const before = await look();
  expect(before.status).toBe("running");
  await kill();
  await start();
  expect(await look()).toEqual(before);
});

test("a task in the middle is closed as failed, its half file is gone, and it can be asked for again", async () => {
  const stalling = createServer((_, response) => response.writeHead(200, { "content-length": 1_000_000 }).write("QFI"));
  await new Promise<void>((done) => stalling.listen(0, "127.0.0.1", done));
  const bound: AddressInfo | string | null = stalling.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  const order = { content: "iso", filename: "x.iso", url: `http://127.0.0.1:${port}/x.iso` };
  const upid = String((await api.call("POST", "/nodes/pve/storage/local/download-url", order)).data);
  const state = async () => record((await api.call("GET", `/nodes/pve/tasks/${encodeURIComponent(upid)}/status`)).data);
  expect((await state())["status"]).toBe("running");
  await kill();
  await start();
  expect(await state()).toMatchObject({ status: "stopped", exitstatus: "interrupted, the server was stopped" });
  expect((await api.call("GET", "/nodes/pve/storage/local/content")).data).toEqual([]);
  const again = String((await api.call("POST", "/nodes/pve/storage/local/download-url", order)).data);
  await api.call("DELETE", `/nodes/pve/tasks/${encodeURIComponent(again)}`);
  expect((await api.settled(again)).exitstatus).toBe("received interrupt");
  stalling.closeAllConnections();
  stalling.close();
});

test("killed at any moment of making a VM, there is one VM or none, never half of one", async () => {
  for (let round = 0; round < 5; round += 1) {
    const vmid = 300 + round;
    const order = { vmid, scsi0: "local-lvm:1", scsi1: "local-lvm:1", ide2: "local-lvm:cloudinit" };
    const asked = api.call("POST", "/nodes/pve/qemu", order).catch(() => undefined);
    for (let turns = 0; turns < round * 2; turns += 1) await new Promise((done) => setImmediate(done));
    if (round > 3) await asked;
    await kill();
    await asked;
    await start();
    const listed = records((await api.call("GET", "/cluster/resources", { type: "vm" })).data).some(
      (vm) => vm["vmid"] === vmid,
    );
    const volumes = records((await api.call("GET", "/nodes/pve/storage/local-lvm/content", { vmid })).data);
    expect(volumes).toHaveLength(listed ? 3 : 0);
    if (!listed) expect((await api.task("POST", "/nodes/pve/qemu", order)).exitstatus).toBe("OK");
    expect(record((await api.call("GET", `/nodes/pve/qemu/${vmid}/config`)).data)).not.toHaveProperty("lock");
  }
});
