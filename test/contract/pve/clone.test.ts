import { afterEach, beforeEach, expect, test } from "vitest";
import { fakeMachines, record, records, servePve } from "./served-pve.ts";
import type { FakeMachines, ServedPve } from "./served-pve.ts";

// Section 3 of the shared notes "pve-api": a template, its clones, and what the provider sends to each.
let machines: FakeMachines;
let served: ServedPve;
beforeEach(async () => {
  machines = fakeMachines();
  served = await servePve({
    machines,
    datastores: [
      { name: "local", type: "dir", content: ["iso", "vztmpl", "import", "snippets"] },
      { name: "local-lvm", type: "lvmthin", content: ["images", "rootdir"] },
      { name: "files", type: "dir", content: ["images"] },
    ],
  });
  await served.task("POST", "/nodes/pve/qemu", {
    vmid: 9000,
    name: "base",
    cores: 2,
    scsi0: "local-lvm:1,ssd=1",
    ide2: "local-lvm:cloudinit",
    net0: "virtio,bridge=vmbr0",
    tags: "a",
  });
});
afterEach(() => served.close());
const config = async (vmId: number) => record((await served.call("GET", `/nodes/pve/qemu/${vmId}/config`)).data);

test("a template's disks are called base, and it starts no more", async () => {
  expect(await served.task("POST", "/nodes/pve/qemu/9000/template")).toMatchObject({
    type: "qmtemplate",
    exitstatus: "OK",
  });
  expect(await config(9000)).toMatchObject({ template: 1, scsi0: "local-lvm:base-9000-disk-0,size=1G,ssd=1" });
  expect((await served.call("POST", "/nodes/pve/qemu/9000/status/start")).reason).toBe(
    "you can't start a vm if it's a template",
  );
  expect((await served.call("POST", "/nodes/pve/qemu/9000/template")).reason).toBe(
    "you can't convert a template to a template",
  );
});

test("a clone has a name, cards, disks and ids of its own", async () => {
  await served.task("POST", "/nodes/pve/qemu/9000/template");
  const done = await served.task("POST", "/nodes/pve/qemu/9000/clone", {
    full: 1,
    newid: 101,
    name: "worker",
    storage: "files",
    format: "qcow2",
  });
  expect(done).toMatchObject({ type: "qmclone", exitstatus: "OK" });
  const [base, clone] = [await config(9000), await config(101)];
  expect(clone).toMatchObject({
    name: "worker",
    cores: 2,
    tags: "a",
    scsi0: "files:101/vm-101-disk-0.qcow2,size=1G,ssd=1",
    ide2: "files:101/vm-101-cloudinit.qcow2,media=cdrom",
  });
  expect(clone).not.toHaveProperty("template");
  expect(clone).not.toHaveProperty("lock");
  for (const key of ["net0", "smbios1", "vmgenid", "digest"]) expect(clone[key]).not.toBe(base[key]);
  expect((await served.call("PUT", "/nodes/pve/qemu/101/config", { delete: "ide2,net1,net31" })).status).toBe(200);
  expect(
    (await served.call("PUT", "/nodes/pve/qemu/101/config", { ide2: "file=files:cloudinit,", cores: 4 })).status,
  ).toBe(200);
  expect((await served.task("POST", "/nodes/pve/qemu/101/status/start")).exitstatus).toBe("OK");
});

test("without a name it is a copy by name; a linked one stays where the template is", async () => {
  await served.task("POST", "/nodes/pve/qemu/9000/template");
  expect(
    (await served.call("POST", "/nodes/pve/qemu/9000/clone", { newid: 102, full: 0, storage: "files" })).errors,
  ).toEqual({ storage: "parameter 'storage' not allowed for linked clones" });
  expect((await served.task("POST", "/nodes/pve/qemu/9000/clone", { newid: 102, full: 0 })).exitstatus).toBe("OK");
  expect((await config(102))["name"]).toBe("Copy-of-VM-base");
});

test("an id that is taken is refused, and a datastore that cannot hold disks", async () => {
  expect((await served.call("POST", "/nodes/pve/qemu/9000/clone", { newid: 9000 })).reason).toBe(
    "unable to create VM 9000: config file already exists",
  );
  expect(
    (await served.call("POST", "/nodes/pve/qemu/9000/clone", { newid: 103, full: 1, storage: "local" })).reason,
  ).toBe("storage 'local' is not configured for content-type 'images'");
  expect((await served.call("GET", "/nodes/pve/qemu/103/config")).status).toBe(500);
});

test("a disk moves to another datastore; the original is freed or kept", async () => {
  const path = "/nodes/pve/qemu/9000/move_disk";
  expect((await served.call("POST", path, { disk: "scsi0", storage: "local-lvm", delete: 1 })).reason).toBe(
    "you can't move to the same storage with same format",
  );
  expect(await served.task("POST", path, { disk: "scsi0", storage: "files", delete: 1 })).toMatchObject({
    type: "qmmove",
    exitstatus: "OK",
  });
  expect((await config(9000))["scsi0"]).toBe("files:9000/vm-9000-disk-0.raw,size=1G,ssd=1");
  await served.task("POST", path, { disk: "scsi0", storage: "local-lvm" });
  expect(await config(9000)).toMatchObject({
    scsi0: "local-lvm:vm-9000-disk-0,size=1G,ssd=1",
    unused0: "files:9000/vm-9000-disk-0.raw",
  });
  await served.task("POST", "/nodes/pve/qemu/9000/status/start");
  expect((await served.task("POST", path, { disk: "scsi0", storage: "files", delete: 1 })).exitstatus).toContain(
    "stop the VM first",
  );
  expect((await served.call("POST", path, { disk: "scsi9", storage: "files" })).reason).toBe(
    "disk 'scsi9' does not exist",
  );
});

test("a bridge that does not exist stops the start, not the making", async () => {
  await served.call("PUT", "/nodes/pve/qemu/9000/config", { net0: "virtio,bridge=vmbr9" });
  expect((await served.task("POST", "/nodes/pve/qemu/9000/status/start")).exitstatus).toBe(
    "bridge 'vmbr9' does not exist",
  );
  expect(machines.started).toEqual([]);
});

test("work on one VM waits its turn: ten starts at once boot it once", async () => {
  const upids = await Promise.all(
    Array.from({ length: 10 }, () => served.call("POST", "/nodes/pve/qemu/9000/status/start")),
  );
  const ends = await Promise.all(upids.map(({ data }) => served.settled(String(data))));
  expect(ends.filter(({ exitstatus }) => exitstatus === "OK")).toHaveLength(1);
  expect(ends.filter(({ exitstatus }) => exitstatus === "VM 9000 already running")).toHaveLength(9);
  expect(machines.started).toHaveLength(1);
});

test("ten orders of one id make one VM", async () => {
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => served.call("POST", "/nodes/pve/qemu", { vmid: 500, scsi0: "local-lvm:1" })),
  );
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  for (const { data } of answers) if (typeof data === "string") await served.settled(data);
  expect(records((await served.call("GET", "/nodes/pve/storage/local-lvm/content", { vmid: 500 })).data)).toHaveLength(
    1,
  );
});

test("pools hold VMs and storages, and go only when empty", async () => {
  expect((await served.call("GET", "/pools")).data).toEqual([]);
  await served.call("POST", "/pools", { poolid: "one", comment: "first" });
  await served.call("POST", "/pools", { poolid: "two" });
  expect((await served.call("POST", "/pools", { poolid: "two" })).reason).toContain("already exists");
  await served.call("PUT", "/pools", { poolid: "one", vms: 9000, storage: "files" });
  expect((await served.call("GET", "/pools", { poolid: "one" })).data).toEqual([
    {
      poolid: "one",
      comment: "first",
      members: [
        { id: "qemu/9000", type: "qemu", node: "pve", vmid: 9000, name: "base" },
        { id: "storage/pve/files", type: "storage", node: "pve", storage: "files" },
      ],
    },
  ]);
  expect((await served.call("DELETE", "/pools", { poolid: "one" })).reason).toBe(
    "delete pool failed: pool 'one' is not empty (contains VM 9000)",
  );
  expect((await served.call("PUT", "/pools", { poolid: "two", vms: 9000 })).reason).toContain(
    "belongs already to pool 'one'",
  );
  expect((await served.call("PUT", "/pools", { poolid: "one", vms: 9000, storage: "files", delete: 1 })).status).toBe(
    200,
  );
  expect((await served.call("DELETE", "/pools/one")).status).toBe(200);
  expect((await served.call("GET", "/pools", { poolid: "one" })).reason).toBe("pool 'one' does not exist");
});
