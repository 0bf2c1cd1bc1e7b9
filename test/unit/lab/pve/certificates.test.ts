import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { issueLabCertificates } from "../../../../infra/lab/pve/certificates.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "gorkheavy-certificates-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));
const HOSTS = [
  { name: "thinkcentre-1", addresses: ["192.168.1.211"] },
  { name: "thinkcentre-2", addresses: ["192.168.1.212", "::1"] },
];

test("each host has a certificate of the lab's CA for its name and addresses alone", async () => {
  const { caFile, caPem, servers } = await issueLabCertificates(directory, HOSTS);
  expect(await readFile(caFile, "utf8")).toBe(caPem);
  const ca = new X509Certificate(caPem);
  const second = new X509Certificate(servers["thinkcentre-2"]?.certPem ?? "");
  expect(ca.ca).toBe(true);
  expect(second.ca).toBe(false);
  expect(second.verify(ca.publicKey)).toBe(true);
  expect(
    [second.checkIP("192.168.1.212"), second.checkIP("::1"), second.checkHost("thinkcentre-2")].every(
      (found) => found !== undefined,
    ),
  ).toBe(true);
  expect([second.checkIP("192.168.1.211"), second.checkHost("thinkcentre-1")]).toEqual([undefined, undefined]);
});

test("keys are the owner's alone", async () => {
  await issueLabCertificates(directory, HOSTS);
  for (const name of ["ca", "thinkcentre-1", "thinkcentre-2"])
    expect((await stat(join(directory, `${name}.key`))).mode & 0o777).toBe(0o600);
});

test("what is good stays, what is damaged, or for another address, is made anew", async () => {
  const first = await issueLabCertificates(directory, HOSTS);
  expect(await issueLabCertificates(directory, HOSTS)).toEqual(first);
  await writeFile(join(directory, "thinkcentre-1.key"), "damaged");
  const moved = HOSTS.map((host) => (host.name === "thinkcentre-2" ? { ...host, addresses: ["192.168.1.99"] } : host));
  const second = await issueLabCertificates(directory, moved);
  expect(second.caPem).toBe(first.caPem);
  expect(second.servers["thinkcentre-1"]?.certPem).not.toBe(first.servers["thinkcentre-1"]?.certPem);
  expect(new X509Certificate(second.servers["thinkcentre-2"]?.certPem ?? "").checkIP("192.168.1.99")).toBe(
    "192.168.1.99",
  );
  await rm(join(directory, "ca.pem"));
  const third = await issueLabCertificates(directory, moved);
  const server = new X509Certificate(third.servers["thinkcentre-1"]?.certPem ?? "");
  expect(server.verify(new X509Certificate(third.caPem).publicKey)).toBe(true);
});
