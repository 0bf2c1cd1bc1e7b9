import { execFileSync, spawnSync } from "node:child_process";
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  mkdirSync,
  existsSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";
import { parseIso } from "../../../../infra/lab/nodes/iso9660.ts";
import { macAddressOf } from "../../../../infra/proxmox/mac-address.ts";
import { renderSeed, type SeedSpec } from "../../../../infra/proxmox/seed/cloud-init.ts";
import { renderIso, renderSectors } from "../../../../infra/proxmox/seed/iso9660.ts";
import { pathOf, renderRemoveCommand, renderWriteCommand } from "../../../../infra/proxmox/seed/seed-image.ts";

const spec: SeedSpec = {
  hostName: "k3s-master",
  user: "gorkheavy",
  authorizedKeys: ["ssh-ed25519 AAAAclient k3s-cluster-key"],
  hostKey: { privateKey: "-----BEGIN X-----\nline\n-----END X-----\n", publicKey: "ssh-ed25519 AAAAhost k3s-master" },
  instanceId: "k3s-master-201",
  macAddress: "BC:24:11:00:00:C9",
  address: "192.168.1.201",
  prefix: 24,
  gateway: "192.168.1.1",
  dns: ["8.8.8.8", "8.8.4.4"],
  packages: [],
};

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gorkheavy-seed-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("the network is found by MAC address, with a route and no gateway4", () => {
  const files = renderSeed(spec);
  expect(parse(files["network-config"])).toEqual({
    version: 2,
    ethernets: {
      eth0: {
        match: { macaddress: "bc:24:11:00:00:c9" },
        "set-name": "eth0",
        dhcp4: false,
        addresses: ["192.168.1.201/24"],
        routes: [{ to: "default", via: "192.168.1.1" }],
        nameservers: { addresses: ["8.8.8.8", "8.8.4.4"] },
      },
    },
  });
  expect(files["network-config"]).not.toContain("gateway4");
  expect(parse(files["meta-data"])).toEqual({ "instance-id": "k3s-master-201", "local-hostname": "k3s-master" });
});

test("the user logs in by key only, and the host key is the program's", () => {
  const text = renderSeed(spec)["user-data"];
  expect(text.startsWith("#cloud-config\n")).toBe(true);
  expect(parse(text)).toMatchObject({
    hostname: "k3s-master",
    ssh_pwauth: false,
    disable_root: true,
    ssh_deletekeys: true,
    ssh_keys: { ed25519_private: spec.hostKey.privateKey, ed25519_public: spec.hostKey.publicKey },
    users: [
      {
        name: "gorkheavy",
        lock_passwd: true,
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        ssh_authorized_keys: spec.authorizedKeys,
      },
    ],
    swap: { size: 0 },
    growpart: { mode: "auto" },
    package_update: false,
  });
  expect(parse(text)).not.toHaveProperty("packages");
});

test("packages are installed when asked for", () => {
  expect(parse(renderSeed({ ...spec, packages: ["qemu-guest-agent"] })["user-data"])).toMatchObject({
    package_update: true,
    packages: ["qemu-guest-agent"],
  });
});

test("an image reads back as it was written, by another reader than its writer", () => {
  const files = { ...renderSeed(spec), "vendor-data": "x".repeat(5000) };
  const read = parseIso(Buffer.from(renderIso("cidata", files)));
  expect(read.label).toBe("cidata");
  expect(Object.fromEntries([...read.files].map(([name, content]) => [name, content.toString()]))).toEqual(files);
});

test("the same files give the same bytes", () => {
  const files = { ...renderSeed(spec) };
  expect(Buffer.compare(Buffer.from(renderIso("cidata", files)), Buffer.from(renderIso("cidata", files)))).toBe(0);
});

test.each([
  ["a label of 17", "c".repeat(17), { a: "" }, /volume label/],
  ["a name with a slash", "cidata", { "a/b": "" }, /file name "a\/b"/],
  [
    "more files than one sector",
    "cidata",
    Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`file-number-${i}`, ""])),
    /too many files/,
  ],
])("refuses %s", (_, label, files, message) => {
  expect(() => renderIso(label, files)).toThrow(message);
});

test("isoinfo and blkid agree", (context) => {
  const has = (tool: string): boolean => spawnSync("sh", ["-c", `command -v ${tool}`]).status === 0;
  if (!has("isoinfo")) context.skip("isoinfo is not installed");
  const path = join(folder, "seed.iso");
  writeFileSync(path, renderIso("cidata", { ...renderSeed(spec) }));
  expect(execFileSync("isoinfo", ["-J", "-f", "-i", path], { encoding: "utf8" }).trim().split("\n").sort()).toEqual([
    "/meta-data",
    "/network-config",
    "/user-data",
  ]);
  expect(execFileSync("isoinfo", ["-J", "-x", "/user-data", "-i", path], { encoding: "utf8" })).toBe(
    renderSeed(spec)["user-data"],
  );
  expect(execFileSync("isoinfo", ["-d", "-i", path], { encoding: "utf8" })).toMatch(/^Volume id: cidata$/m);
});

test("the write command makes exactly the image, for nobody else to read", () => {
  const image = renderIso("cidata", { ...renderSeed(spec) });
  const sectors = renderSectors(image);
  const path = pathOf(join(folder, "work"), "k3s-master-201-seed.iso", sectors);
  execFileSync("/bin/sh", ["-c", renderWriteCommand(path)], { input: sectors });
  expect(Buffer.compare(readFileSync(path), Buffer.from(image))).toBe(0);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, "work")).mode & 0o777).toBe(0o700);
  execFileSync("/bin/sh", ["-c", renderRemoveCommand(path)]);
  expect(existsSync(join(folder, "work"))).toBe(false);
});

test("the write command refuses a folder that is a link", () => {
  mkdirSync(join(folder, "elsewhere"));
  symlinkSync(join(folder, "elsewhere"), join(folder, "work"));
  const run = spawnSync("/bin/sh", ["-c", renderWriteCommand(join(folder, "work", "a.iso"))], {
    input: "0 AA==\n",
    encoding: "utf8",
  });
  expect(run.status).toBe(73);
  expect(run.stderr).toMatch(/want a folder of this user's own/);
});

test("another seed has another path, and no path shows the seed", () => {
  expect(pathOf("/w", "a.iso", "one")).not.toBe(pathOf("/w", "a.iso", "two"));
  expect(pathOf("/w", "a.iso", "one")).toMatch(/^\/w\/a-[0-9a-f]{16}\.iso$/);
});

test("a VM's MAC address is made of its id", () => {
  expect(macAddressOf(201)).toBe("BC:24:11:00:00:C9");
  expect(macAddressOf(0x12_34_56)).toBe("BC:24:11:12:34:56");
  expect(() => macAddressOf(0x1_00_00_00)).toThrow(/vmId: got 16777216/);
});
