import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createProxmoxvePlugin } from "../../../infra/lab/plugins/proxmoxve/plugin.ts";
import { PartialFailure, Secret, UNKNOWN } from "../../../infra/lab/plugins/provider.ts";
import type { CreateCall, Properties, ProviderPlugin, UpdateCall } from "../../../infra/lab/plugins/provider.ts";
import { startRecordingPve, TOKEN, upid } from "./recording-pve.ts";
import type { RecordingPve } from "./recording-pve.ts";

const type = "proxmoxve:index/vmLegacy:VmLegacy";
const vmPath = "nodes/pve/qemu/201";

/** The VM of the seed, as infra asks for it. */
const inputs: Properties = {
  nodeName: "pve",
  vmId: 201,
  name: "k3s-master",
  tags: ["k3s", "gorkheavy"],
  operatingSystem: { type: "l26" },
  cpu: { cores: 4, type: "x86-64-v2-AES" },
  memory: { dedicated: 8192 },
  scsiHardware: "virtio-scsi-single",
  disks: [
    {
      interface: "scsi0",
      datastoreId: "local-lvm",
      importFrom: "local:import/u.qcow2",
      size: 32,
      iothread: true,
      discard: "on",
      ssd: true,
    },
  ],
  cdrom: { interface: "ide2", fileId: "local:iso/seed.iso" },
  bootOrders: ["scsi0"],
  networkDevices: [{ bridge: "vmbr0", macAddress: "bc:24:11:00:00:01" }],
};

let pve: RecordingPve;
let plugin: ProviderPlugin;
let config: Record<string, string | number>;
let running: boolean;

beforeEach(async () => {
  pve = await startRecordingPve();
  plugin = createProxmoxvePlugin({ SSL_CERT_FILE: pve.caFile });
  await plugin.configure({ endpoint: pve.endpoint, apiToken: new Secret(TOKEN) }, {});
  running = false;
  config = {
    name: "k3s-master",
    tags: "gorkheavy;k3s",
    cores: 4,
    sockets: 1,
    cpu: "x86-64-v2-AES",
    memory: "8192",
    balloon: 0,
    onboot: 1,
    ostype: "l26",
    scsihw: "virtio-scsi-single",
    agent: "enabled=0,fstrim_cloned_disks=0,type=virtio",
    boot: "order=scsi0",
    scsi0: "local-lvm:vm-201-disk-0,aio=io_uring,backup=1,cache=none,discard=on,iothread=1,replicate=1,size=32G,ssd=1",
    ide2: "local:iso/seed.iso,media=cdrom,size=372K",
    net0: "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=0",
  };
  pve.answers.set("POST nodes/pve/qemu", { data: upid("qmcreate") });
  pve.answers.set(`PUT ${vmPath}/resize`, { data: upid("resize") });
  pve.answers.set(`PUT ${vmPath}/config`, { data: null });
  pve.answers.set(`GET ${vmPath}/config`, () => ({ data: config }));
  pve.answers.set(`GET ${vmPath}/status/current`, () => ({
    data: { vmid: 201, status: running ? "running" : "stopped" },
  }));
  pve.answers.set(`POST ${vmPath}/status/start`, () => {
    running = true;
    return { data: upid("qmstart") };
  });
  for (const way of ["stop", "shutdown"]) {
    pve.answers.set(`POST ${vmPath}/status/${way}`, () => {
      running = false;
      return { data: upid("qmstop") };
    });
  }
  pve.answers.set("GET cluster/resources", { data: [{ vmid: 201, node: "pve" }] });
  pve.answers.set("GET nodes/pve/storage/local-lvm/content/local-lvm:vm-201-disk-0", { data: { format: "raw" } });
  pve.answers.set("GET pools", { data: [] });
});

afterEach(() => pve.close());

function call(extra: Partial<CreateCall> = {}): CreateCall {
  return {
    urn: "u",
    type,
    name: "vm",
    inputs,
    preview: false,
    timeoutMs: 0,
    signal: new AbortController().signal,
    log: () => undefined,
    ...extra,
  };
}

async function created(): Promise<Properties> {
  const { properties } = await plugin.create(call());
  pve.requests.length = 0;
  return properties;
}

function update(olds: Properties, news: Properties): UpdateCall {
  return { ...call(), id: "201", olds, oldInputs: inputs, news, ignoreChanges: [] };
}

/** Requests without the task polling. */
function asked(): string[] {
  return pve.requests.filter((request) => !request.includes("/tasks/"));
}

const READ = [
  "GET cluster/resources?type=vm",
  `GET ${vmPath}/config`,
  `GET ${vmPath}/status/current`,
  "GET nodes/pve/storage/local-lvm/content/local-lvm:vm-201-disk-0",
  "GET pools",
];

describe("the requests for a VM", () => {
  test("create imports, grows and starts it, then reads it back", async () => {
    const { id, properties } = await plugin.create(call());
    expect(id).toBe("201");
    expect(asked()).toEqual([
      "POST nodes/pve/qemu " +
        "acpi=1&agent=enabled=0,fstrim_cloned_disks=0,type=virtio&balloon=0&bios=seabios&boot=order=scsi0&cores=4" +
        "&cpu=x86-64-v2-AES&ide2=file=local:iso/seed.iso,media=cdrom,&keyboard=en-us&memory=8192&name=k3s-master" +
        "&net0=model=virtio,bridge=vmbr0,firewall=0,macaddr=bc:24:11:00:00:01&numa=0&onboot=1&ostype=l26&protection=0" +
        "&scsi0=file=local-lvm:0,import-from=local:import/u.qcow2,size=34359738368,aio=io_uring,backup=1,iothread=1," +
        "ssd=1,discard=on,cache=none,replicate=1&scsihw=virtio-scsi-single&sockets=1&tablet=1&tags=gorkheavy;k3s" +
        "&template=0&vmid=201",
      `PUT ${vmPath}/resize disk=scsi0&size=34359738368`,
      `GET ${vmPath}/status/current`,
      `POST ${vmPath}/status/start timeout=1800`,
      `GET ${vmPath}/status/current`,
      ...READ,
    ]);
    expect([...pve.authorizations]).toEqual([`PVEAPIToken=${TOKEN}`]);
    expect(properties).toMatchObject({ vmId: 201, started: true, macAddresses: ["BC:24:11:00:00:01"] });
  });

  test("what was created shows no change", async () => {
    const olds = await created();
    const diff = await plugin.diff({ ...call(), id: "201", olds, oldInputs: inputs, news: inputs, ignoreChanges: [] });
    expect(diff).toEqual({ changes: false, replaces: [] });
    expect(pve.requests).toEqual([]);
  });

  test("more memory is one update in place, with one stop and start", async () => {
    const olds = await created();
    const news = { ...inputs, memory: { dedicated: 10240 } };
    const diff = await plugin.diff({ ...call(), id: "201", olds, oldInputs: inputs, news, ignoreChanges: [] });
    expect(diff).toMatchObject({ changes: true, replaces: [], detailed: { "memory.dedicated": "update" } });
    pve.answers.set(`PUT ${vmPath}/config`, (form) => {
      config["memory"] = form.get("memory") ?? "";
      return { data: null };
    });
    const { properties } = await plugin.update(update(olds, news));
    expect(asked()).toEqual([
      `GET ${vmPath}/config`,
      `PUT ${vmPath}/config balloon=0&memory=10240&name=k3s-master`,
      `GET ${vmPath}/status/current`,
      `GET ${vmPath}/status/current`,
      `GET ${vmPath}/config`,
      `POST ${vmPath}/status/stop`,
      `GET ${vmPath}/status/current`,
      `GET ${vmPath}/status/current`,
      `GET ${vmPath}/status/current`,
      `POST ${vmPath}/status/start timeout=1800`,
      `GET ${vmPath}/status/current`,
      ...READ,
    ]);
    expect(properties["memory"]).toEqual({ dedicated: 10240, floating: 0 });
  });

  test("a larger disk is resized while it runs, its options sent before and after", async () => {
    const olds = await created();
    const [disk] = inputs["disks"] as [Properties];
    await plugin.update(update(olds, { ...inputs, disks: [{ ...disk, size: 64 }] }));
    const options =
      "name=k3s-master&scsi0=file=local-lvm:vm-201-disk-0,aio=io_uring,backup=1,iothread=1,ssd=1,discard=on,cache=none,replicate=1";
    expect(asked().slice(0, 6)).toEqual([
      `GET ${vmPath}/config`,
      `PUT ${vmPath}/config ${options}`,
      `GET ${vmPath}/config`,
      `PUT ${vmPath}/resize disk=scsi0&size=68719476736`,
      `PUT ${vmPath}/config ${options.replace("name=k3s-master&", "")}`,
      `GET ${vmPath}/status/current`,
    ]);
    expect(pve.requests.join()).not.toMatch(/status\/(stop|shutdown)/);
  });

  test("a smaller disk is refused before anything shrinks", async () => {
    const olds = await created();
    const [disk] = inputs["disks"] as [Properties];
    const smaller = plugin.update(update(olds, { ...inputs, disks: [{ ...disk, size: 16 }] }));
    await expect(smaller).rejects.toThrow(/scsi0: cannot shrink from 32 to 16 GiB/);
  });

  test("delete stops it, removes it with its disks and waits until the host has forgotten it", async () => {
    const olds = await created();
    pve.answers.set(`DELETE ${vmPath}/`, () => {
      pve.answers.set(`GET ${vmPath}/status/current`, { status: 500, reason: "Configuration file does not exist" });
      return { data: upid("qmdestroy") };
    });
    await plugin.delete({ ...call(), id: "201", properties: { ...olds, stopOnDestroy: true }, inputs });
    expect(asked()).toEqual([
      `GET ${vmPath}/status/current`,
      `POST ${vmPath}/status/stop`,
      `GET ${vmPath}/status/current`,
      `DELETE ${vmPath}/?destroy-unreferenced-disks=1&purge=1`,
      `GET ${vmPath}/status/current`,
    ]);
  });

  test("a VM that is gone reads as gone, and deletes without an error", async () => {
    const olds = await created();
    pve.answers.set("GET cluster/resources", { data: [] });
    pve.answers.set(`GET ${vmPath}/status/current`, { status: 500, reason: "Configuration file does not exist" });
    expect(await plugin.read({ ...call(), id: "201", inputs, properties: olds })).toBeUndefined();
    await expect(plugin.delete({ ...call(), id: "201", properties: olds, inputs })).resolves.toBeUndefined();
  });

  test("a start that fails leaves the VM in the state, with the task's own words", async () => {
    const failed = upid("qmfail");
    pve.answers.set(`POST ${vmPath}/status/start`, { data: failed });
    pve.answers.set(
      `GET nodes/pve/tasks/${encodeURIComponent(failed).replaceAll("%3A", ":").replaceAll("%40", "@")}/status`,
      {
        data: { status: "stopped", exitstatus: "bridge 'vmbr9' does not exist" },
      },
    );
    const failure = plugin.create(call());
    await expect(failure).rejects.toBeInstanceOf(PartialFailure);
    await expect(failure).rejects.toMatchObject({
      id: "201",
      message: expect.stringContaining("bridge 'vmbr9'") as string,
    });
  });

  test("a preview asks nothing and knows what it cannot know", async () => {
    const { properties } = await plugin.create(call({ preview: true }));
    expect(properties).toMatchObject({ ipv4Addresses: UNKNOWN, vmId: 201 });
    expect(pve.requests).toEqual([]);
  });
});

describe("what replaces a VM", () => {
  const diffOf = async (change: Properties) => {
    const olds = await created();
    return plugin.diff({
      ...call(),
      id: "201",
      olds,
      oldInputs: inputs,
      news: { ...inputs, ...change },
      ignoreChanges: [],
    });
  };

  test.each<[Properties, string[]]>([
    [{ vmId: 202 }, ["vmId"]],
    [{ nodeName: "other" }, ["nodeName"]],
    [{ nodeName: "other", migrate: true }, []],
    [{ memory: { dedicated: 4096 } }, []],
    [{ tags: ["x"] }, []],
  ])("%j", async (change, replaces) => {
    expect((await diffOf(change)).replaces).toEqual(replaces);
  });

  test("another image for a disk that exists changes nothing", async () => {
    const [disk] = inputs["disks"] as [Properties];
    expect(await diffOf({ disks: [{ ...disk, importFrom: "local:import/new.qcow2" }] })).toMatchObject({
      changes: false,
    });
  });
});

describe("a VM's inputs", () => {
  test.each<[Properties, string, RegExp]>([
    [{ cores: 4 }, "cores", /unknown property/],
    [{ memory: { dedicated: "8192" } }, "memory.dedicated", /got "8192", want an integer/],
    [{ vmId: 99 }, "vmId", /from 100 to/],
    [{ usbs: [] }, "usbs", /does not do this/],
    [{ disks: [{ interface: "nvme0" }] }, "disks[0].interface", /scsi0-30/],
  ])("%j is refused", async (change, property, reason) => {
    const news = { ...inputs, ...change };
    const { failures } = await plugin.check({ urn: "u", type, name: "vm", news, randomSeed: new Uint8Array() });
    expect(failures[0]?.property).toBe(property);
    expect(failures[0]?.reason).toMatch(reason);
  });
});

describe("a VM that nobody's state knows", () => {
  test("is imported by node and id; only its CD at ide2 is news, since the provider looks for one at ide3", async () => {
    const found = await plugin.read({ ...call(), id: "pve/201", inputs: undefined, properties: undefined });
    expect(found?.id).toBe("201");
    const olds = found?.properties ?? {};
    const stopped = { ...inputs, started: false };
    const diff = await plugin.diff({ ...call(), id: "201", olds, oldInputs: olds, news: stopped, ignoreChanges: [] });
    expect(diff).toMatchObject({ changes: true, replaces: [], detailed: { cdrom: "add" } });
    expect(Object.keys(diff.detailed ?? {})).toEqual(["cdrom"]);
  });

  test("needs its node in the id", async () => {
    const found = plugin.read({ ...call(), id: "201", inputs: undefined, properties: undefined });
    await expect(found).rejects.toThrow(/want NODE\/VMID, such as thinkcentre-1\/201/);
  });
});
