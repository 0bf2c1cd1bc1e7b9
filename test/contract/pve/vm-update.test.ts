import { describe, expect, test } from "vitest";
import { record, records } from "./served-pve.ts";
import { DISK, GIB, VM, vmFixture } from "./vm-fixture.ts";

const vm = vmFixture();

describe("update (2c)", () => {
  test("memory and cores of a running VM wait for a cold start, names and tags do not", async () => {
    await vm.create();
    await vm.served.task("POST", `${VM}/status/start`);
    const answer = await vm.served.call("PUT", `${VM}/config`, {
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
    expect(await vm.config()).toMatchObject({ cores: 8, memory: "16384", name: "renamed", tags: "a;b" });
    expect(record((await vm.served.call("GET", `${VM}/config`, { current: 1 })).data)).toMatchObject({
      cores: 4,
      memory: "8192",
      name: "renamed",
    });
    const pending = records((await vm.served.call("GET", `${VM}/pending`)).data);
    expect(pending.filter((one) => one["pending"] !== undefined)).toEqual([
      { key: "cores", value: 4, pending: 8 },
      { key: "memory", value: "8192", pending: "16384" },
    ]);
    expect((await vm.status())["cpus"]).toBe(4);
    expect((await vm.served.task("POST", `${VM}/status/shutdown`, { forceStop: 1, timeout: 1800 })).type).toBe(
      "qmshutdown",
    );
    expect((await vm.status())["status"]).toBe("stopped");
    await vm.served.task("POST", `${VM}/status/start`, { timeout: 1800 });
    expect(vm.machines.started[1]).toMatchObject({ cores: 8, memoryMib: 16384, name: "renamed" });
    expect(
      records((await vm.served.call("GET", `${VM}/pending`)).data).filter((one) => one["pending"] !== undefined),
    ).toEqual([]);
  });

  test("a reboot puts pending changes into force and begins the uptime anew", async () => {
    await vm.create();
    await vm.served.task("POST", `${VM}/status/start`);
    for (let calls = 0; calls < 3; calls += 1) await vm.status();
    await vm.served.call("PUT", `${VM}/config`, { memory: 4096 });
    expect(Number((await vm.status())["uptime"])).toBeGreaterThan(2);
    expect((await vm.served.task("POST", `${VM}/status/reboot`, { timeout: 60 })).exitstatus).toBe("OK");
    expect(vm.machines.started[1]?.memoryMib).toBe(4096);
    expect(Number((await vm.status())["uptime"])).toBeLessThan(2);
  });

  test("a guest that does not hear is stopped when that is allowed, else the task fails", async () => {
    await vm.create();
    await vm.served.task("POST", `${VM}/status/start`);
    vm.machines.deaf = true;
    expect((await vm.served.task("POST", `${VM}/status/shutdown`, { timeout: 1 })).exitstatus).toBe(
      "VM 100 still runs after 1000 ms",
    );
    expect((await vm.served.task("POST", `${VM}/status/shutdown`, { timeout: 1, forceStop: 1 })).exitstatus).toBe("OK");
    expect((await vm.status())["status"]).toBe("stopped");
  });

  test("resizes a running VM's disk without a pending change (2d)", async () => {
    await vm.create();
    await vm.served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 32 * GIB });
    await vm.served.task("POST", `${VM}/status/start`);
    const drive = `file=local-lvm:vm-100-disk-0,${DISK},ssd=0`;
    for (const step of ["put", "resize", "put"]) {
      if (step === "put")
        expect((await vm.served.call("PUT", `${VM}/config`, { name: "k3s-master", scsi0: drive })).status).toBe(200);
      else
        expect((await vm.served.task("PUT", `${VM}/resize`, { disk: "scsi0", size: 68719476736 })).exitstatus).toBe(
          "OK",
        );
    }
    expect((await vm.config())["scsi0"]).toBe(`local-lvm:vm-100-disk-0,${DISK},size=64G,ssd=0`);
    expect(
      records((await vm.served.call("GET", `${VM}/pending`)).data).filter((one) => one["pending"] !== undefined),
    ).toEqual([]);
    expect((await vm.status())["status"]).toBe("running");
  });

  test("a disk that is taken off becomes unused, leaves the boot order, and is freed when that is deleted", async () => {
    await vm.create();
    await vm.served.call("PUT", `${VM}/config`, { delete: "scsi0" });
    expect(await vm.config()).toMatchObject({ unused0: "local-lvm:vm-100-disk-0", boot: "order=net0" });
    await vm.served.call("PUT", `${VM}/config`, { delete: "unused0" });
    expect(await vm.config()).not.toHaveProperty("unused0");
    expect(vm.machines.discarded.some((path) => path.endsWith("vm-100-disk-0.raw"))).toBe(true);
    const left = records((await vm.served.call("GET", "/nodes/pve/storage/local-lvm/content")).data);
    expect(left.map((volume) => volume["volid"])).toEqual(["local-lvm:vm-100-cloudinit"]);
  });

  test("the cloud-init drive moves: deleted, then ordered elsewhere", async () => {
    await vm.create();
    expect((await vm.served.call("PUT", `${VM}/cloudinit`)).data).toBeNull();
    expect((await vm.served.call("PUT", `${VM}/config`, { delete: "ide2,sata5" })).status).toBe(200);
    expect((await vm.served.call("PUT", `${VM}/config`, { sata0: "file=local-lvm:cloudinit," })).status).toBe(200);
    expect(await vm.config()).toMatchObject({ sata0: "local-lvm:vm-100-cloudinit,media=cdrom" });
    expect(await vm.config()).not.toHaveProperty("unused0");
  });

  test("the same change as a task is called qmconfig", async () => {
    await vm.create();
    expect(await vm.served.task("POST", `${VM}/config`, { description: "two\nlines: 100%" })).toMatchObject({
      type: "qmconfig",
      exitstatus: "OK",
    });
    expect((await vm.config())["description"]).toBe("two\nlines: 100%");
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
    await vm.create();
    const before = await vm.config();
    const answer = await vm.served.call("PUT", `${VM}/config`, params);
    expect(answer.status).toBe(code);
    expect(typeof expected === "string" ? answer.reason : answer.errors).toEqual(expected);
    expect(await vm.config()).toEqual(before);
  });
});
