import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DRIVE_KEYS, orderOf, parseDrive, renderDrive } from "../../../../infra/lab/pve/format/drive.ts";
import { parseNet, renderNet } from "../../../../infra/lab/pve/format/net.ts";
import { parseProperties, renderProperties } from "../../../../infra/lab/pve/format/property-string.ts";
import { parseSize, renderSize } from "../../../../infra/lab/pve/format/size.ts";
import { parseTags, renderTags } from "../../../../infra/lab/pve/format/tags.ts";
import { parseUpid, renderUpid } from "../../../../infra/lab/pve/format/upid.ts";
import {
  digestOf,
  parseVmConfig,
  renderVmConfig,
  withPending,
} from "../../../../infra/lab/pve/format/vm-config-file.ts";
import { ownerOf, parseVolumeId, renderVolumeId } from "../../../../infra/lab/pve/format/volume-id.ts";

const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const flag = fc.constantFrom("0", "1");

describe("property strings", () => {
  test("reading what was rendered gives the same parts", () => {
    fc.assert(
      fc.property(fc.dictionary(word, fc.stringMatching(/^[^,=\s]{1,12}$/)), (parts) => {
        const given = new Map(Object.entries(parts));
        expect(parseProperties(renderProperties(given, "file"), "file")).toEqual(given);
      }),
    );
  });

  test("stray commas are nothing, a key twice is refused", () => {
    expect(parseProperties(",a,,b=1,", "file")).toEqual(
      new Map([
        ["file", "a"],
        ["b", "1"],
      ]),
    );
    expect(() => parseProperties("b=1,b=2")).toThrow("duplicate key in comma-separated list property: b");
    expect(() => parseProperties("bare")).toThrow("schema does not define a default key");
  });
});

describe("drives", () => {
  const settings = fc.record(
    {
      aio: fc.constantFrom("native", "threads", "io_uring"),
      backup: flag,
      cache: fc.constantFrom("none", "writeback"),
      discard: fc.constantFrom("ignore", "on"),
      iothread: flag,
      replicate: flag,
      ssd: flag,
      iops_rd: fc.nat().map(String),
    },
    { requiredKeys: [] },
  );

  test("reading what was rendered gives the same drive, whatever order its parts came in", () => {
    fc.assert(
      fc.property(
        settings,
        fc.nat(10_000),
        fc.option(fc.integer({ min: 1, max: 2 ** 40 }), { nil: undefined }),
        fc.array(fc.nat(), { minLength: 10, maxLength: 10 }),
        (given, number, sizeBytes, order) => {
          const file = `local-lvm:vm-100-disk-${number}`;
          const parts = Object.entries(given).map(([key, value]) => `${key}=${value}`);
          if (sizeBytes !== undefined) parts.push(`size=${sizeBytes}`);
          const shuffled = [`file=${file}`, ...parts]
            .map((part, index) => ({ part, at: order[index] ?? 0 }))
            .sort((a, b) => a.at - b.at);
          const drive = parseDrive("scsi0", shuffled.map(({ part }) => part).join(","));
          expect(drive).toEqual({
            file,
            importFrom: undefined,
            format: undefined,
            sizeBytes,
            settings: new Map(Object.entries(given)),
          });
          const rendered = renderDrive(drive);
          expect(rendered.startsWith(`${file}`)).toBe(true);
          expect(parseDrive("scsi0", rendered)).toEqual(drive);
          expect(renderDrive(parseDrive("scsi0", rendered))).toBe(rendered);
        },
      ),
    );
  });

  test("what the provider sends is what Proxmox shows", () => {
    const sent = parseDrive(
      "scsi0",
      "file=local-lvm:0,import-from=local:import/x.qcow2,size=34359738368,aio=io_uring,backup=on,format=raw",
    );
    expect(orderOf(sent)).toEqual({ kind: "import", storage: "local-lvm" });
    expect(renderDrive({ ...sent, file: "local-lvm:vm-100-disk-0" })).toBe(
      "local-lvm:vm-100-disk-0,aio=io_uring,backup=1,size=32G",
    );
  });

  test.each([
    ["local-lvm:32", { kind: "new", storage: "local-lvm", sizeGib: 32 }],
    ["local-lvm:0.5", { kind: "new", storage: "local-lvm", sizeGib: 0.5 }],
    ["file=local-lvm:cloudinit,", { kind: "cloudinit", storage: "local-lvm" }],
    ["local-lvm:vm-100-disk-0", undefined],
    ["local:iso/x.iso,media=cdrom", undefined],
    ["none,media=cdrom", undefined],
  ])("%s orders %o", (text, order) => expect(orderOf(parseDrive("ide2", text))).toEqual(order));

  test.each([
    ["scsi0", "size=1G", /^format error\nfile: property is missing/],
    ["ide0", "local-lvm:1,iothread=1", /iothread: property is not defined/],
    ["virtio0", "local-lvm:1,ssd=1", /ssd: property is not defined/],
    ["scsi0", "local-lvm:1,ssd=perhaps", /ssd: type check \('boolean'\) failed/],
    ["scsi0", "local-lvm:1,cache=hot", /cache: value 'hot' does not have a value in the enumeration/],
    ["scsi0", "local-lvm:1,size=big", /size: invalid format/],
  ])("%s=%s is refused", (key, text, message) => expect(() => parseDrive(key, text)).toThrow(message));

  test("an import needs size 0", () =>
    expect(() => orderOf(parseDrive("scsi0", "local-lvm:5,import-from=local:import/x"))).toThrow(
      "'import-from' requires special syntax",
    ));
  test("there are 57 drives of disks", () => expect(DRIVE_KEYS).toHaveLength(4 + 6 + 31 + 16 + 2));
});

describe("cards", () => {
  const mac = fc
    .array(fc.integer({ min: 0, max: 255 }), { minLength: 5, maxLength: 5 })
    .map((bytes) => ["BC", ...bytes.map((byte) => byte.toString(16).padStart(2, "0"))].join(":"));
  test("reading what was rendered gives the same card, in either spelling", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("virtio", "e1000", "vmxnet3"),
        mac,
        flag,
        fc.option(fc.integer({ min: 1, max: 4094 }), { nil: undefined }),
        (model, address, firewall, tag) => {
          const rest = `bridge=vmbr0,firewall=${firewall}${tag === undefined ? "" : `,tag=${tag}`}`;
          const card = parseNet(`${rest},${model}=${address}`);
          expect(parseNet(`model=${model},macaddr=${address},${rest}`)).toEqual(card);
          expect(renderNet(card)).toBe(`${model}=${address.toUpperCase()},${rest}`);
          expect(parseNet(renderNet(card))).toEqual(card);
        },
      ),
    );
  });
  test.each([
    ["bridge=vmbr0", "model: property is missing"],
    ["model=carrier-pigeon", "model: value 'carrier-pigeon'"],
    ["virtio=01:00:00:00:00:00", "unicast MAC address"],
    ["virtio,tag=5000", "tag: value must have a maximum value of 4094"],
    ["virtio,colour=red", "colour: property is not defined"],
  ])("%s is refused", (text, message) => expect(() => parseNet(text)).toThrow(message));
});

describe("tags, sizes, ids", () => {
  test("tags are lower case, sorted, each once, and stay so", () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,6}$/)),
        fc.constantFrom(",", ";", " "),
        (given, separator) => {
          const tags = parseTags(given.join(separator));
          expect(tags).toEqual([...new Set(given.map((tag) => tag.toLowerCase()))].sort());
          expect(parseTags(renderTags(tags))).toEqual(tags);
        },
      ),
    );
    expect(() => parseTags("no/slash")).toThrow("valid tag");
  });

  test("a size is exact in the largest unit that fits", () => {
    expect([0, 1, 1024, 1536, 34359738368, 3758096384, 1024 ** 5].map(renderSize)).toEqual([
      "0",
      "1",
      "1K",
      "1536",
      "32G",
      "3584M",
      "1024T",
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
        expect(parseSize(renderSize(bytes))).toBe(bytes);
      }),
    );
    expect(["1.5K", "10", "x", "-1", "1P", ""].map(parseSize)).toEqual([
      1536,
      10,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("a UPID survives", () => {
    const field = fc.stringMatching(/^[a-z0-9!@._-]{1,12}$/);
    const hex = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(
        word.filter((node) => !node.endsWith("-")),
        hex,
        hex,
        hex,
        field,
        fc.stringMatching(/^[a-z0-9!@._-]{0,12}$/),
        field,
        (node, pid, pstart, startTime, type, id, user) => {
          const upid = { node, pid, pstart, startTime, type, id, user };
          expect(parseUpid(renderUpid(upid))).toEqual(upid);
          expect(renderUpid(upid).split(":")).toHaveLength(9);
        },
      ),
    );
    expect(parseUpid("UPID:pve:1:2:3:qmstart:100:root@pam:")).toBeUndefined();
  });

  test("a volume id has a datastore, a name and perhaps an owner", () => {
    expect(parseVolumeId("local:import/x.qcow2")).toEqual({ storage: "local", name: "import/x.qcow2" });
    expect(renderVolumeId({ storage: "local", name: "import/x.qcow2" })).toBe("local:import/x.qcow2");
    expect(parseVolumeId("import/x.qcow2")).toBeUndefined();
    expect(
      ["vm-100-disk-0", "9000/base-9000-disk-0.raw", "iso/x.iso", "100/vm-100-cloudinit.qcow2"].map(ownerOf),
    ).toEqual([100, 9000, undefined, 100]);
  });
});

describe("configuration files", () => {
  const key = fc.constantFrom("cores", "memory", "name", "net0", "scsi0", "sshkeys", "smbios1", "vmstatestorage");
  const value = fc.stringMatching(/^\S([^\n\r]{0,20}\S)?$/);
  test("reading what was written gives the same configuration and digest", () => {
    fc.assert(
      fc.property(
        fc.dictionary(key, value),
        fc.dictionary(key, value),
        fc.uniqueArray(fc.constantFrom("agent", "tags")),
        fc.option(fc.string(), { nil: undefined }),
        (values, pending, pendingDelete, description) => {
          const config = {
            values: { ...values, ...(description === undefined ? {} : { description }) },
            pending,
            pendingDelete: pendingDelete.sort(),
          };
          const read = parseVmConfig(renderVmConfig(config));
          expect(read).toEqual(config);
          expect(digestOf(read)).toBe(digestOf(config));
        },
      ),
    );
  });
  test("pending values win, deleted ones are gone", () => {
    expect(
      withPending({ values: { a: "1", b: "2", c: "3" }, pending: { a: "9", d: "4" }, pendingDelete: ["b"] }),
    ).toEqual({ a: "9", c: "3", d: "4" });
  });
});
