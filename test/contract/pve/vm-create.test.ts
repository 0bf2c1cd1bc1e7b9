import { describe, expect, test } from "vitest";
import { records } from "./served-pve.ts";
import { CREATE, DISK, GIB, VM, uploadImage, vmFixture } from "./vm-fixture.ts";

const vm = vmFixture();

describe("create (2b)", () => {
  test("answers a UPID of the token's user and ends OK", async () => {
    const made = await vm.served.task("POST", "/nodes/pve/qemu", CREATE);
    expect(made.upid).toMatch(/^UPID:pve:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:qmcreate:100:root@pam!lab:$/);
    expect(made.exitstatus).toBe("OK");
    expect(made.lines.at(-1)).toBe("TASK OK");
  });

  test("reads back normalised, each option in its JSON type", async () => {
    await vm.create();
    const got = await vm.config();
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
    expect((await vm.config())["net0"]).toBe(got["net0"]);
  });

  test("grows the imported disk to the size asked for, and an equal size is fine", async () => {
    await vm.create();
    for (const size of [34359738368, 34359738368])
      expect((await vm.served.task("PUT", `${VM}/resize`, { disk: "scsi0", size })).exitstatus).toBe("OK");
    expect((await vm.config())["scsi0"]).toBe(`local-lvm:vm-100-disk-0,${DISK},size=32G,ssd=0`);
    const volume = await vm.served.call("GET", "/nodes/pve/storage/local-lvm/content/local-lvm:vm-100-disk-0");
    expect(volume.data).toMatchObject({ format: "raw", size: 32 * GIB });
    const shrunk = await vm.served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: GIB });
    expect(shrunk.exitstatus).toBe("shrinking disks is not supported");
    expect(shrunk.lines.at(-1)).toBe("TASK ERROR: shrinking disks is not supported");
  });

  test("a blank disk has the size ordered, and disks are numbered in string order of their keys", async () => {
    await vm.create({
      scsi10: "file=local-lvm:1",
      scsi2: "file=local-lvm:2,size=2147483648",
      virtio0: "local-lvm:0.5",
    });
    const got = await vm.config();
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
    await vm.create();
    await vm.served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 32 * GIB });
    expect((await vm.status())["status"]).toBe("stopped");
    expect((await vm.served.task("POST", `${VM}/status/start`, { timeout: 1800 })).exitstatus).toBe("OK");
    const [spec] = vm.machines.started;
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
      { name: "net0", bridge: "vmbr0", macAddress: String((await vm.config())["net0"]).slice(7, 24) },
    ]);
    expect(await vm.status()).toMatchObject({
      vmid: 100,
      status: "running",
      qmpstatus: "running",
      cpus: 4,
      maxmem: 8 * GIB,
      agent: 1,
      pid: 4100,
      ha: { managed: 0 },
    });
    const listed = records((await vm.served.call("GET", "/cluster/resources", { type: "vm" })).data);
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
    expect((await vm.served.task("POST", `${VM}/status/start`)).exitstatus).toBe("VM 100 already running");
  });

  test("passes an attached ISO file to the machine", async () => {
    await uploadImage(vm.served, "iso", "seed.iso", Buffer.from("iso"));
    await vm.create({ ide2: "file=local:iso/seed.iso,media=cdrom" });
    expect((await vm.config())["ide2"]).toBe("local:iso/seed.iso,media=cdrom,size=3");
    await vm.served.task("POST", `${VM}/status/start`);
    expect(vm.machines.started[0]?.cdromPaths).toEqual([expect.stringMatching(/\/template\/iso\/seed\.iso$/)]);
  });

  test("leaves nothing behind when a disk cannot be made", async () => {
    const made = await vm.served.task("POST", "/nodes/pve/qemu", {
      ...CREATE,
      virtio0: "local-lvm:0,import-from=local:import/gone.qcow2",
    });
    expect(made.exitstatus).toBe("unable to create VM 100 - volume 'local:import/gone.qcow2' does not exist");
    expect((await vm.served.call("GET", `${VM}/config`)).status).toBe(500);
    expect((await vm.served.call("GET", "/nodes/pve/storage/local-lvm/content")).data).toEqual([]);
  });
});

describe("guest agent", () => {
  test("has each of Proxmox' words for why it does not answer", async () => {
    const path = `${VM}/agent/network-get-interfaces`;
    await vm.create();
    expect((await vm.served.call("GET", path)).reason).toBe("VM 100 is not running");
    await vm.served.task("POST", `${VM}/status/start`);
    expect((await vm.served.call("GET", path)).reason).toBe("QEMU guest agent is not running");
    expect((await vm.served.call("POST", `${VM}/agent/ping`)).status).toBe(500);
    vm.machines.agent = [
      { name: "lo", macAddress: "00:00:00:00:00:00", addresses: [{ address: "127.0.0.1", prefix: 8, family: "ipv4" }] },
      {
        name: "eth0",
        macAddress: "BC:24:11:00:00:01",
        addresses: [{ address: "10.0.0.50", prefix: 24, family: "ipv4" }],
      },
    ];
    expect((await vm.served.call("POST", `${VM}/agent/ping`)).data).toEqual({ result: {} });
    expect((await vm.served.call("GET", path)).data).toEqual({
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
    await vm.served.call("PUT", `${VM}/config`, { delete: "agent" });
    expect((await vm.served.call("GET", path)).reason).toBe("No QEMU guest agent configured");
  });
});

describe("delete (2e)", () => {
  const trailing = "/nodes/pve/qemu/100/?destroy-unreferenced-disks=1&purge=1";

  test("refuses while the VM runs, then frees all of it", async () => {
    await vm.create();
    await vm.served.call("POST", "/pools", { poolid: "lab" });
    await vm.served.call("PUT", "/pools", { poolid: "lab", vms: 100 });
    await vm.served.task("POST", `${VM}/status/start`);
    expect((await vm.served.call("DELETE", trailing)).reason).toBe("VM 100 is running - destroy failed");
    await vm.served.task("POST", `${VM}/status/stop`);
    const gone = await vm.served.task("DELETE", trailing);
    expect(gone).toMatchObject({ type: "qmdestroy", exitstatus: "OK" });
    const after = await vm.served.call("GET", `${VM}/status/current`);
    expect([after.status, after.reason]).toEqual([
      500,
      "Configuration file 'nodes/pve/qemu-server/100.conf' does not exist",
    ]);
    expect((await vm.served.call("GET", "/nodes/pve/storage/local-lvm/content")).data).toEqual([]);
    expect(records((await vm.served.call("GET", "/pools", { poolid: "lab" })).data)[0]).toMatchObject({ members: [] });
    expect(records((await vm.served.call("GET", "/nodes/pve/storage/local/content")).data)).toHaveLength(1);
  });

  test("frees a volume of the VM that nothing names when asked to", async () => {
    await vm.create();
    await vm.served.call("POST", "/nodes/pve/storage/local-lvm/content", {
      filename: "vm-100-disk-7",
      size: "1G",
      vmid: 100,
    });
    await vm.served.task("DELETE", trailing);
    expect((await vm.served.call("GET", "/nodes/pve/storage/local-lvm/content")).data).toEqual([]);
  });

  test("refuses a protected VM", async () => {
    await vm.create({ protection: 1 });
    expect((await vm.served.call("DELETE", trailing)).reason).toBe("can't remove VM 100 - protection mode enabled");
  });
});
