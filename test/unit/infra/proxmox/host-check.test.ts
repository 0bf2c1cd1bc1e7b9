import { expect, test } from "vitest";
import { datastoreProblems, failureProblem } from "../../../../infra/proxmox/host-check.ts";

const host = {
  name: "tc1",
  endpoint: "https://192.168.1.211:8006",
  node: "thinkcentre-1",
  datastore: "local-lvm",
  imageDatastore: "local",
};
const local = { id: "local", contentTypes: ["import", "iso"] };
const lvm = { id: "local-lvm", contentTypes: ["images", "rootdir"] };

test("takes datastores that hold what is needed, one for both too", () => {
  expect(datastoreProblems(host, [local, lvm])).toEqual([]);
  const one = { id: "all", contentTypes: ["images", "import", "iso"], active: true, enabled: true };
  expect(datastoreProblems({ ...host, datastore: "all", imageDatastore: "all" }, [one])).toEqual([]);
});

test.each([
  ["no datastore at all", [], [/tc1\.datastore: .* Datastore\.Audit/, /tc1\.imageDatastore: .* Datastore\.Audit/]],
  ["one that is not there", [local], [/got "local-lvm".* there are local \(import,iso\); make one that takes images$/]],
  [
    "no import",
    [{ ...local, contentTypes: ["iso"] }, lvm],
    [/also holds import; run `pvesm set local --content iso,import`/],
  ],
  [
    "neither import nor iso",
    [{ ...local, contentTypes: ["backup"] }, lvm],
    [/got "local", which holds backup, want one that also holds import and iso/],
  ],
  ["no images", [local, { ...lvm, contentTypes: ["rootdir"] }], [/got "local-lvm", .* also holds images/]],
  ["one switched off", [{ ...local, enabled: false }, lvm], [/got "local", which is disabled/]],
  ["one that is away", [local, { ...lvm, active: false }], [/got "local-lvm", which is not active/]],
])("refuses %s", (_, found, wanted) => {
  const problems = datastoreProblems(host, found);
  expect(problems).toHaveLength(wanted.length);
  wanted.forEach((pattern, index) => expect(problems[index]).toMatch(pattern));
});

test("names another that holds what is needed", () => {
  expect(datastoreProblems({ ...host, imageDatastore: "local-lvm" }, [local, lvm])).toEqual([
    'hosts.tc1.imageDatastore: got "local-lvm", which holds images, rootdir, want one that also holds import and iso; set it to local, which does',
  ]);
});

test.each([
  [
    "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    /tc1\.endpoint: .*SSL_CERT_FILE/,
  ],
  ["self-signed certificate in certificate chain", /SSL_CERT_FILE/],
  ["received an HTTP 401 response - Reason: authentication failure", /tc1: .* does not accept the API token/],
  ["HTTP 403 Permission check failed (/storage, Datastore.Audit)", /tc1: .* refuses the API token.*--privsep 0/],
  ["HTTP 500 hostname lookup 'thinkcentre-1' failed", /tc1\.node: got "thinkcentre-1"/],
  [
    "dial tcp 192.168.1.211:8006: connect: connection refused",
    /tc1\.endpoint: .*connection refused.*switch the host on/,
  ],
  ["timeout: no answer within 12 s", /tc1\.endpoint: .*timeout/],
  ["something that nobody has seen before", /tc1\.endpoint: .*something that nobody has seen before/],
])("says what to do about: %s", (failure, wanted) => {
  expect(
    failureProblem(
      host,
      `invocation of proxmoxve:index/getDatastores:getDatastores returned an error: ${failure}\nroot@pam!a=hush-1`,
    ),
  ).toMatch(wanted);
  expect(failureProblem(host, `${failure}\nroot@pam!a=hush-1`)).not.toMatch(/hush|\n/);
});

test("leaves out what the engine puts before the provider's words", () => {
  const said =
    "invocation of proxmoxve:index/getDatastores:getDatastores returned an error: connect: connection refused";
  expect(failureProblem(host, said)).toContain("does not answer as wanted (connect: connection refused); want");
});
