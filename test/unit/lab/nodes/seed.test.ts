import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { matchedCards, placeNetworkMatches, placeSeed } from "../../../../infra/lab/nodes/seed.ts";

const dir = await mkdtemp(join(tmpdir(), "gk-seed-"));
afterAll(() => rm(dir, { recursive: true }));

const CONFIG = `version: 2
ethernets:
  nic0:
    match: {macaddress: "BC:24:11:00:02:01"}
    set-name: eth0
    addresses: [192.168.1.201/24]
  other:
    match: {name: "en*"}
`;

test("finds the cards that are matched by address", () => {
  expect(matchedCards(CONFIG)).toEqual([{ id: "nic0", macAddress: "bc:24:11:00:02:01", setName: "eth0" }]);
});

test("takes a configuration below `network:` as well, and an empty one", () => {
  expect(matchedCards(`network:\n${CONFIG.replace(/^/gm, "  ")}`)).toHaveLength(1);
  expect(matchedCards("")).toEqual([]);
});

test("refuses a configuration of another shape", () => {
  expect(() => matchedCards("ethernets: [1, 2]")).toThrow(/ethernets/);
  expect(() => matchedCards("a: [")).toThrow();
});

test("lets networkd match the present address, and forgets cards that are gone", async () => {
  await placeNetworkMatches(dir, [{ id: "old", macAddress: "aa:aa:aa:aa:aa:aa" }]);
  await placeNetworkMatches(dir, matchedCards(CONFIG));
  expect(await readFile(join(dir, "systemd/network/10-netplan-nic0.network.d/gorkheavy-match.conf"), "utf8")).toMatch(
    /^\[Match\]\nPermanentMACAddress=\nMACAddress=bc:24:11:00:02:01\n/,
  );
  expect(await readdir(join(dir, "systemd/network/10-netplan-old.network.d"))).toEqual([]);
});

test("replaces the seed as a whole, for root's eyes only", async () => {
  const place = join(dir, "lib/cloud/seed/nocloud");
  await mkdir(place, { recursive: true });
  await writeFile(join(place, "vendor-data"), "of the seed before");
  const files = new Map(
    Object.entries({ "user-data": "u", "meta-data": "m", "readme.txt": "r" }).map(([name, text]) => [
      name,
      Buffer.from(text),
    ]),
  );
  await placeSeed(dir, files);
  expect((await readdir(place)).sort()).toEqual(["meta-data", "user-data"]);
  expect((await stat(join(place, "user-data"))).mode & 0o777).toBe(0o600);
  await placeSeed(dir, undefined);
  await expect(stat(place)).rejects.toThrow(/ENOENT/);
});
