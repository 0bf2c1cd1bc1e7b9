import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeMachines, multipart, qcow2, record, records, servePve, TOKEN } from "./served-pve.ts";
import type { FakeMachines, ServedPve } from "./served-pve.ts";

// The provider's own way through a VM's life (shared notes "pve-api", section 2, read from bpg/terraform-provider-proxmox v0.111.1).
const GIB = 1024 ** 3;
const VM = "/nodes/pve/qemu/100";

/** The create body of section 2b, key for key, without its optional ones. */
const CREATE = {
  acpi: 1,
  agent: "enabled=1,fstrim_cloned_disks=0,type=virtio",
  balloon: 0,
  bios: "seabios",
  boot: "order=scsi0;net0",
  ciuser: "ubuntu",
  cipassword: "canary-password",
  cores: 4,
  cpu: "x86-64-v2-AES",
  ide2: "file=local-lvm:cloudinit,",
  ipconfig0: "gw=10.0.0.1,ip=10.0.0.50/24",
  keyboard: "en-us",
  memory: 8192,
  name: "k3s-master",
  nameserver: "1.1.1.1 8.8.8.8",
  net0: "model=virtio,bridge=vmbr0,firewall=0",
  numa: 0,
  onboot: 1,
  ostype: "l26",
  protection: 0,
  scsi0:
    "file=local-lvm:0,import-from=local:import/x.qcow2,size=34359738368,aio=io_uring,backup=1,iothread=0,ssd=0,discard=ignore,cache=none,replicate=1",
  scsihw: "virtio-scsi-pci",
  searchdomain: "home.lab",
  sockets: 1,
  sshkeys: "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIGJ%20me%40home%0A",
  tablet: 1,
  tags: "k3s;Server",
  template: 0,
  vmid: 100,
};
const DISK = "aio=io_uring,backup=1,cache=none,discard=ignore,iothread=0,replicate=1";

let machines: FakeMachines;
let served: ServedPve;
beforeEach(async () => {
  machines = fakeMachines();
  served = await servePve({ machines });
  await uploadImage();
});
afterEach(() => served.close());

async function uploadImage(): Promise<void> {
  const { type, body } = multipart({ content: "import" }, "x.qcow2", qcow2(3.5 * GIB));
  const answer = await served.raw(
    "POST",
    "/api2/json/nodes/pve/storage/local/upload",
    { authorization: `PVEAPIToken=${TOKEN}`, "content-type": type, "content-length": String(body.length) },
    body,
  );
  await served.settled(String(answer.data));
}
async function create(changes: Record<string, string | number> = {}): Promise<void> {
  const made = await served.task("POST", "/nodes/pve/qemu", { ...CREATE, ...changes });
  if (made.exitstatus !== "OK") throw new Error(made.exitstatus);
}
const config = async () => record((await served.call("GET", `${VM}/config`)).data);
const status = async () => record((await served.call("GET", `${VM}/status/current`)).data);

describe("create (2b)", () => {
  test("answers a UPID of the token's user and ends OK", async () => {
    const made = await served.task("POST", "/nodes/pve/qemu", CREATE);
    expect(made.upid).toMatch(/^UPID:pve:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:qmcreate:100:root@pam!lab:$/);
    expect(made.exitstatus).toBe("OK");
    expect(made.lines.at(-1)).toBe("TASK OK");
  });

  test("reads back normalised, each option in its JSON type", async () => {
    await create();
    const got = await config();
    const mac = /^virtio=(BC:24:11(?::[0-9A-F]{2}){3}),bridge=vmbr0,firewall=0$/.exec(String(got["net0"]));
    expect(mac).not.toBeNull();
    expect(got).toMatchObject({
      acpi: 1,
      agent: "enabled=1,fstrim_cloned_disks=0,type=virtio",
      balloon: 0,
      boot: "order=scsi0;net0",
      cipassword: "**********",
      cores: 4,
      ide2: "local-lvm:vm-100-cloudinit,media=cdrom",
      ipconfig0: "gw=10.0.0.1,ip=10.0.0.50/24",
      memory: "8192",
      numa: 0,
      onboot: 1,
      protection: 0,
      scsi0: `local-lvm:vm-100-disk-0,${DISK},size=3584M,ssd=0`,
      sshkeys: CREATE.sshkeys,
      tags: "k3s;server",
      template: 0,
    });
    expect(got["digest"]).toMatch(/^[0-9a-f]{40}$/);
    expect(got).not.toHaveProperty("lock");
    expect((await config())["net0"]).toBe(got["net0"]);
  });

  test("grows the imported disk to the size asked for, and an equal size is fine", async () => {
    await create();
    for (const _ of [1, 2])
      expect((await served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 34359738368 })).exitstatus).toBe("OK");
    expect((await config())["scsi0"]).toBe(`local-lvm:vm-100-disk-0,${DISK},size=32G,ssd=0`);
    const volume = await served.call("GET", "/nodes/pve/storage/local-lvm/content/local-lvm:vm-100-disk-0");
    expect(volume.data).toMatchObject({ format: "raw", size: 32 * GIB });
    const shrunk = await served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: GIB });
    expect(shrunk.exitstatus).toBe("shrinking disks is not supported");
    expect(shrunk.lines.at(-1)).toBe("TASK ERROR: shrinking disks is not supported");
  });

  test("a blank disk has the size ordered, and disks are numbered in string order of their keys", async () => {
    await create({ scsi10: "file=local-lvm:1", scsi2: "file=local-lvm:2,size=2147483648", virtio0: "local-lvm:0.5" });
    const got = await config();
    expect(
      [got["scsi0"], got["scsi10"], got["scsi2"], got["virtio0"]].map((disk) => String(disk).split(",")[0]),
    ).toEqual([
      "local-lvm:vm-100-disk-0",
      "local-lvm:vm-100-disk-1",
      "local-lvm:vm-100-disk-2",
      "local-lvm:vm-100-disk-3",
    ]);
    expect(got["virtio0"]).toBe("local-lvm:vm-100-disk-3,size=512M");
  });

  test("starts with what the configuration says, and is listed at once", async () => {
    await create();
    await served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 32 * GIB });
    expect((await status())["status"]).toBe("stopped");
    expect((await served.task("POST", `${VM}/status/start`, { timeout: 1800 })).exitstatus).toBe("OK");
    const [spec] = machines.started;
    expect(spec).toMatchObject({
      vmId: 100,
      name: "k3s-master",
      cores: 4,
      memoryMib: 8192,
      diskSizeBytes: 32 * GIB,
      cdromPaths: [],
    });
    expect(spec?.bootDiskPath).toMatch(/\/images\/100\/vm-100-disk-0\.raw$/);
    expect(spec?.nics).toEqual([
      { name: "net0", bridge: "vmbr0", macAddress: String((await config())["net0"]).slice(7, 24) },
    ]);
    expect(await status()).toMatchObject({
      vmid: 100,
      status: "running",
      qmpstatus: "running",
      cpus: 4,
      maxmem: 8 * GIB,
      agent: 1,
      pid: 4100,
      ha: { managed: 0 },
    });
    const listed = records((await served.call("GET", "/cluster/resources", { type: "vm" })).data);
    expect(listed).toEqual([
      expect.objectContaining({
        id: "qemu/100",
        type: "qemu",
        vmid: 100,
        node: "pve",
        name: "k3s-master",
        status: "running",
        maxcpu: 4,
        template: 0,
      }),
    ]);
    expect((await served.task("POST", `${VM}/status/start`)).exitstatus).toBe("VM 100 already running");
  });

  test("passes an attached ISO file to the machine", async () => {
    const { type, body } = multipart({ content: "iso" }, "seed.iso", Buffer.from("iso"));
    const sent = await served.raw(
      "POST",
      "/api2/json/nodes/pve/storage/local/upload",
      { authorization: `PVEAPIToken=${TOKEN}`, "content-type": type, "content-length": String(body.length) },
      body,
    );
    await served.settled(String(sent.data));
    await create({ ide2: "file=local:iso/seed.iso,media=cdrom" });
    expect((await config())["ide2"]).toBe("local:iso/seed.iso,media=cdrom,size=3");
    await served.task("POST", `${VM}/status/start`);
    expect(machines.started[0]?.cdromPaths).toEqual([expect.stringMatching(/\/template\/iso\/seed\.iso$/)]);
  });

  test("leaves nothing behind when a disk cannot be made", async () => {
    const made = await served.task("POST", "/nodes/pve/qemu", {
      ...CREATE,
      virtio0: "local-lvm:0,import-from=local:import/gone.qcow2",
    });
    expect(made.exitstatus).toBe("unable to create VM 100 - volume 'local:import/gone.qcow2' does not exist");
    expect((await served.call("GET", `${VM}/config`)).status).toBe(500);
    expect((await served.call("GET", "/nodes/pve/storage/local-lvm/content")).data).toEqual([]);
  });
});

describe("guest agent", () => {
  test("has each of Proxmox' words for why it does not answer", async () => {
    const path = `${VM}/agent/network-get-interfaces`;
    await create();
    expect((await served.call("GET", path)).reason).toBe("VM 100 is not running");
    await served.task("POST", `${VM}/status/start`);
    expect((await served.call("GET", path)).reason).toBe("QEMU guest agent is not running");
    expect((await served.call("POST", `${VM}/agent/ping`)).status).toBe(500);
    machines.agent = [
      { name: "lo", macAddress: "00:00:00:00:00:00", addresses: [{ address: "127.0.0.1", prefix: 8, family: "ipv4" }] },
      {
        name: "eth0",
        macAddress: "BC:24:11:00:00:01",
        addresses: [{ address: "10.0.0.50", prefix: 24, family: "ipv4" }],
      },
    ];
    expect((await served.call("POST", `${VM}/agent/ping`)).data).toEqual({ result: {} });
    expect((await served.call("GET", path)).data).toEqual({
      result: [
        {
          name: "lo",
          "hardware-address": "00:00:00:00:00:00",
          "ip-addresses": [{ "ip-address": "127.0.0.1", "ip-address-type": "ipv4", prefix: 8 }],
        },
        {
          name: "eth0",
          "hardware-address": "bc:24:11:00:00:01",
          "ip-addresses": [{ "ip-address": "10.0.0.50", "ip-address-type": "ipv4", prefix: 24 }],
        },
      ],
    });
    await served.call("PUT", `${VM}/config`, { delete: "agent" });
    expect((await served.call("GET", path)).reason).toBe("No QEMU guest agent configured");
  });
});

describe("update (2c)", () => {
  test("memory and cores of a running VM wait for a cold start, names and tags do not", async () => {
    await create();
    await served.task("POST", `${VM}/status/start`);
    const answer = await served.call("PUT", `${VM}/config`, {
      balloon: 0,
      cores: 8,
      cpu: "x86-64-v2-AES",
      delete: "vcpus,cpulimit",
      memory: 16384,
      name: "renamed",
      numa: 0,
      sockets: 1,
      tags: "b;a",
    });
    expect([answer.status, answer.data]).toEqual([200, null]);
    expect(await config()).toMatchObject({ cores: 8, memory: "16384", name: "renamed", tags: "a;b" });
    expect(record((await served.call("GET", `${VM}/config`, { current: 1 })).data)).toMatchObject({
      cores: 4,
      memory: "8192",
      name: "renamed",
    });
    const pending = records((await served.call("GET", `${VM}/pending`)).data);
    expect(pending.filter((one) => one["pending"] !== undefined)).toEqual([
      { key: "cores", value: 4, pending: 8 },
      { key: "memory", value: "8192", pending: "16384" },
    ]);
    expect((await status())["cpus"]).toBe(4);
    expect((await served.task("POST", `${VM}/status/shutdown`, { forceStop: 1, timeout: 1800 })).type).toBe(
      "qmshutdown",
    );
    expect((await status())["status"]).toBe("stopped");
    await served.task("POST", `${VM}/status/start`, { timeout: 1800 });
    expect(machines.started[1]).toMatchObject({ cores: 8, memoryMib: 16384, name: "renamed" });
    expect(
      records((await served.call("GET", `${VM}/pending`)).data).filter((one) => one["pending"] !== undefined),
    ).toEqual([]);
  });

  test("a reboot puts pending changes into force and begins the uptime anew", async () => {
    await create();
    await served.task("POST", `${VM}/status/start`);
    for (let calls = 0; calls < 3; calls += 1) await status();
    await served.call("PUT", `${VM}/config`, { memory: 4096 });
    expect(Number((await status())["uptime"])).toBeGreaterThan(2);
    expect((await served.task("POST", `${VM}/status/reboot`, { timeout: 60 })).exitstatus).toBe("OK");
    expect(machines.started[1]?.memoryMib).toBe(4096);
    expect(Number((await status())["uptime"])).toBeLessThan(2);
  });

  test("a guest that does not hear is stopped when that is allowed, else the task fails", async () => {
    await create();
    await served.task("POST", `${VM}/status/start`);
    machines.deaf = true;
    expect((await served.task("POST", `${VM}/status/shutdown`, { timeout: 1 })).exitstatus).toBe(
      "VM 100 still runs after 1000 ms",
    );
    expect((await served.task("POST", `${VM}/status/shutdown`, { timeout: 1, forceStop: 1 })).exitstatus).toBe("OK");
    expect((await status())["status"]).toBe("stopped");
  });

  test("resizes a running VM's disk without a pending change (2d)", async () => {
    await create();
    await served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 32 * GIB });
    await served.task("POST", `${VM}/status/start`);
    const drive = `file=local-lvm:vm-100-disk-0,${DISK},ssd=0`;
    for (const step of ["put", "resize", "put"]) {
      if (step === "put")
        expect((await served.call("PUT", `${VM}/config`, { name: "k3s-master", scsi0: drive })).status).toBe(200);
      else
        expect((await served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 68719476736 })).exitstatus).toBe("OK");
    }
    expect((await config())["scsi0"]).toBe(`local-lvm:vm-100-disk-0,${DISK},size=64G,ssd=0`);
    expect(
      records((await served.call("GET", `${VM}/pending`)).data).filter((one) => one["pending"] !== undefined),
    ).toEqual([]);
    expect((await status())["status"]).toBe("running");
  });

  test("a disk that is taken off becomes unused, leaves the boot order, and is freed when that is deleted", async () => {
    await create();
    await served.call("PUT", `${VM}/config`, { delete: "scsi0" });
    expect(await config()).toMatchObject({ unused0: "local-lvm:vm-100-disk-0", boot: "order=net0" });
    await served.call("PUT", `${VM}/config`, { delete: "unused0" });
    expect(await config()).not.toHaveProperty("unused0");
    expect(machines.discarded.some((path) => path.endsWith("vm-100-disk-0.raw"))).toBe(true);
    const left = records((await served.call("GET", "/nodes/pve/storage/local-lvm/content")).data);
    expect(left.map((volume) => volume["volid"])).toEqual(["local-lvm:vm-100-cloudinit"]);
  });

  test("the cloud-init drive moves: deleted, then ordered elsewhere", async () => {
    await create();
    expect((await served.call("PUT", `${VM}/cloudinit`)).data).toBeNull();
    expect((await served.call("PUT", `${VM}/config`, { delete: "ide2,sata5" })).status).toBe(200);
    expect((await served.call("PUT", `${VM}/config`, { sata0: "file=local-lvm:cloudinit," })).status).toBe(200);
    expect(await config()).toMatchObject({ sata0: "local-lvm:vm-100-cloudinit,media=cdrom" });
    expect(await config()).not.toHaveProperty("unused0");
  });

  test("the same change as a task is called qmconfig", async () => {
    await create();
    expect(await served.task("POST", `${VM}/config`, { description: "two\nlines: 100%" })).toMatchObject({
      type: "qmconfig",
      exitstatus: "OK",
    });
    expect((await config())["description"]).toBe("two\nlines: 100%");
  });

  test.each([
    [
      "a key that is set and deleted",
      { cores: 2, delete: "cores" },
      400,
      { delete: "you can't use '-cores' and -delete cores' at the same time" },
    ],
    ["an unknown key to delete", { delete: "scsi99" }, 400, { delete: "unknown option 'scsi99'" }],
    [
      "an unknown option",
      { coers: 2 },
      400,
      { coers: "property is not defined in schema and the schema does not allow additional properties" },
    ],
    ["a number that is none", { cores: "two" }, 400, { cores: "type check ('integer') failed - got 'two'" }],
    [
      "a drive with an unknown setting",
      { scsi0: "local-lvm:1,colour=red" },
      400,
      {
        scsi0:
          "invalid format - format error\ncolour: property is not defined in schema and the schema does not allow additional properties",
      },
    ],
    [
      "a card without a model",
      { net0: "bridge=vmbr0" },
      400,
      { net0: "invalid format - format error\nmodel: property is missing and it is not optional" },
    ],
    [
      "a digest of another state",
      { name: "x", digest: "0".repeat(40) },
      500,
      "checksum mismatch (file change by other user?)",
    ],
    ["a boot order with a stranger", { boot: "order=scsi7" }, 500, "invalid bootorder: device 'scsi7' does not exist'"],
    ["an option for root alone", { args: "-s" }, 500, "only root can set 'args' config"],
    ["an SSH key that is none", { sshkeys: "not%20a%20key" }, 500, "SSH public key validation error"],
  ])("refuses %s and changes nothing", async (_, params, code, expected) => {
    await create();
    const before = await config();
    const answer = await served.call("PUT", `${VM}/config`, params);
    expect(answer.status).toBe(code);
    expect(typeof expected === "string" ? answer.reason : answer.errors).toEqual(expected);
    expect(await config()).toEqual(before);
  });
});

describe("delete (2e)", () => {
  const trailing = "/nodes/pve/qemu/100/?destroy-unreferenced-disks=1&purge=1";

  test("refuses while the VM runs, then frees all of it", async () => {
    await create();
    await served.call("POST", "/pools", { poolid: "lab" });
    await served.call("PUT", "/pools", { poolid: "lab", vms: 100 });
    await served.task("POST", `${VM}/status/start`);
    expect((await served.call("DELETE", trailing)).reason).toBe("VM 100 is running - destroy failed");
    await served.task("POST", `${VM}/status/stop`);
    const gone = await served.task("DELETE", trailing);
    expect(gone).toMatchObject({ type: "qmdestroy", exitstatus: "OK" });
    const after = await served.call("GET", `${VM}/status/current`);
    expect([after.status, after.reason]).toEqual([
      500,
      "Configuration file 'nodes/pve/qemu-server/100.conf' does not exist",
    ]);
    expect((await served.call("GET", "/nodes/pve/storage/local-lvm/content")).data).toEqual([]);
    expect(records((await served.call("GET", "/pools", { poolid: "lab" })).data)[0]).toMatchObject({ members: [] });
    expect(records((await served.call("GET", "/nodes/pve/storage/local/content")).data)).toHaveLength(1);
  });

  test("frees a volume of the VM that nothing names when asked to", async () => {
    await create();
    await served.call("POST", "/nodes/pve/storage/local-lvm/content", {
      filename: "vm-100-disk-7",
      size: "1G",
      vmid: 100,
    });
    await served.task("DELETE", trailing);
    expect((await served.call("GET", "/nodes/pve/storage/local-lvm/content")).data).toEqual([]);
  });

  test("refuses a protected VM", async () => {
    await create({ protection: 1 });
    expect((await served.call("DELETE", trailing)).reason).toBe("can't remove VM 100 - protection mode enabled");
  });
});
