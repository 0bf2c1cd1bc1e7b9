import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createProxmoxvePlugin } from "../../../infra/lab/plugins/proxmoxve/plugin.ts";
import { Secret } from "../../../infra/lab/plugins/provider.ts";
import type { CreateCall, Properties, ProviderPlugin, ReadCall } from "../../../infra/lab/plugins/provider.ts";
import { startRecordingPve, TOKEN, upid } from "./recording-pve.ts";
import type { RecordingPve } from "./recording-pve.ts";

const DOWNLOAD = "proxmoxve:download/file:File";
const FILE = "proxmoxve:index/fileLegacy:FileLegacy";
const POOL = "proxmoxve:index/poolLegacy:PoolLegacy";

let pve: RecordingPve;
let plugin: ProviderPlugin;

beforeEach(async () => {
  pve = await startRecordingPve();
  plugin = createProxmoxvePlugin({ SSL_CERT_FILE: pve.caFile });
  await plugin.configure({ endpoint: pve.endpoint, apiToken: new Secret(TOKEN) }, {});
});
afterEach(() => pve.close());

function call(type: string, inputs: Properties): CreateCall & ReadCall {
  return {
    urn: "u",
    type,
    name: "n",
    id: "",
    inputs,
    preview: false,
    timeoutMs: 0,
    signal: new AbortController().signal,
    log: () => undefined,
  };
}

const asked = (): string[] => pve.requests.filter((request) => !request.includes("/tasks/"));

describe("an image that the host downloads", () => {
  const inputs: Properties = {
    contentType: "import",
    nodeName: "pve",
    datastoreId: "local",
    url: "http://192.168.1.1:8480/u.img",
    fileName: "u.qcow2",
    checksum: "ab".repeat(32),
    checksumAlgorithm: "sha256",
    overwrite: false,
  };
  const store = "nodes/pve/storage/local";

  beforeEach(() => {
    pve.answers.set("GET nodes/pve/query-url-metadata", { data: { filename: "u.img", size: 7, mimetype: "x" } });
    pve.answers.set(`POST ${store}/download-url`, { data: upid("download") });
    pve.answers.set(`GET ${store}/content`, { data: [{ volid: "local:import/u.qcow2", content: "import", size: 7 }] });
    pve.answers.set("GET version", { data: { version: "9.0.11", release: "9.0", repoid: "x" } });
  });

  test("asks for the URL's metadata, downloads, and looks for the volume", async () => {
    const { id, properties } = await plugin.create(call(DOWNLOAD, inputs));
    expect(id).toBe("local:import/u.qcow2");
    expect(properties).toMatchObject({ size: 7, fileName: "u.qcow2" });
    expect(asked()).toEqual([
      "GET nodes/pve/query-url-metadata?url=http://192.168.1.1:8480/u.img&verify-certificates=1",
      `POST ${store}/download-url checksum=${"ab".repeat(32)}&checksum-algorithm=sha256&content=import&filename=u.qcow2` +
        "&node=pve&storage=local&url=http://192.168.1.1:8480/u.img&verify-certificates=1",
      `GET ${store}/content?content=import`,
    ]);
  });

  test("replaces a file that nobody manages only when told to", async () => {
    let attempts = 0;
    pve.answers.set(`POST ${store}/download-url`, () => {
      attempts += 1;
      return attempts % 2 === 1
        ? { status: 500, reason: "refusing to override existing file 'u.qcow2'" }
        : { data: upid("download") };
    });
    pve.answers.set(`DELETE ${store}/content/import%2Fu.qcow2`, { data: null });
    await plugin.create(call(DOWNLOAD, { ...inputs, overwriteUnmanaged: true }));
    expect(asked()[2]).toBe(`DELETE ${store}/content/import%2Fu.qcow2`);
    attempts = 0;
    await expect(plugin.create(call(DOWNLOAD, inputs))).rejects.toThrow(/overwriteUnmanaged/);
  });

  test("names the datastore, the node and the file when the host refuses", async () => {
    pve.answers.set(`POST ${store}/download-url`, { status: 500, reason: "storage 'local' does not exist" });
    await expect(plugin.create(call(DOWNLOAD, inputs))).rejects.toThrow(
      /u\.qcow2 from .* to datastore local of pve .*storage 'local' does not exist/,
    );
  });

  test("a new URL or checksum replaces, another timeout does not", async () => {
    const { properties: olds } = await plugin.create(call(DOWNLOAD, inputs));
    const diff = (change: Properties) =>
      plugin.diff({
        ...call(DOWNLOAD, inputs),
        olds,
        oldInputs: inputs,
        news: { ...inputs, ...change },
        ignoreChanges: [],
      });
    expect((await diff({ url: "http://192.168.1.1:8480/v.img" })).replaces).toEqual(["url"]);
    expect(await diff({ uploadTimeout: 60 })).toMatchObject({ changes: true, replaces: [] });
    expect(await diff({})).toMatchObject({ changes: false });
  });
});

describe("a file that is uploaded", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "gorkheavy-upload-"));
    pve.answers.set("GET version", { data: { version: "9.0.11", release: "9.0", repoid: "x" } });
    let listed: unknown[] = [];
    pve.answers.set("GET nodes/pve/storage/local/content", () => ({ data: listed }));
    pve.answers.set("POST nodes/pve/storage/local/upload", () => {
      listed = [{ volid: "local:iso/seed.iso", content: "iso", size: 3 }];
      return { data: upid("imgcopy") };
    });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("goes up by the API, and its local copy may be gone afterwards", async () => {
    const source = path.join(folder, "seed-1.iso");
    await writeFile(source, "iso");
    const inputs: Properties = {
      contentType: "iso",
      nodeName: "pve",
      datastoreId: "local",
      sourceFile: { path: source, fileName: "seed.iso" },
    };
    const { id, properties } = await plugin.create(call(FILE, inputs));
    expect(id).toBe("local:iso/seed.iso");
    expect(properties).toMatchObject({ fileName: "seed.iso", fileSize: 3 });
    expect(asked()).toEqual([
      "GET version",
      "GET nodes/pve/storage/local/content?content=iso",
      "POST nodes/pve/storage/local/upload",
      "GET version",
      "GET nodes/pve/storage/local/content?content=iso",
    ]);
    await rm(source);
    const read = await plugin.read({ ...call(FILE, inputs), id, properties });
    expect(read?.properties["sourceFile"]).toMatchObject({ changed: true });
    const olds = read?.properties ?? {};
    const diff = (ignoreChanges: string[]) =>
      plugin.diff({ ...call(FILE, inputs), id, olds, oldInputs: inputs, news: inputs, ignoreChanges });
    expect((await diff([])).replaces).toEqual(["sourceFile"]);
    expect((await diff(["sourceFile.changed"])).changes).toBe(false);
  });
});

describe("a pool", () => {
  test("is made, commented and removed", async () => {
    let comment = "";
    pve.answers.set("POST pools", (form) => {
      comment = form.get("comment") ?? "";
      return { data: null };
    });
    pve.answers.set("GET pools", () => ({ data: [{ poolid: "lab", comment, members: [] }] }));
    pve.answers.set("DELETE pools", { data: null });
    const { id, properties } = await plugin.create(call(POOL, { poolId: "lab", comment: "first" }));
    expect([id, properties["comment"]]).toEqual(["lab", "first"]);
    await plugin.delete({ ...call(POOL, {}), id, properties, inputs: {} });
    expect(asked()).toEqual(["POST pools comment=first&poolid=lab", "GET pools?poolid=lab", "DELETE pools?poolid=lab"]);
  });
});

describe("a host that cannot be used", () => {
  const invoke = (target: ProviderPlugin) =>
    target.invoke?.({
      token: "proxmoxve:index/getVersion:getVersion",
      args: {},
      preview: false,
      signal: new AbortController().signal,
    });

  test("is named when nobody listens", async () => {
    const { endpoint } = pve;
    await pve.close();
    await expect(invoke(plugin)).rejects.toThrow(`proxmoxve:endpoint: ${endpoint} cannot be reached`);
    pve = await startRecordingPve();
  });

  test("gets no token when its certificate is not trusted", async () => {
    const other = await startRecordingPve();
    const stranger = createProxmoxvePlugin({ SSL_CERT_FILE: other.caFile });
    await stranger.configure({ endpoint: pve.endpoint, apiToken: TOKEN }, {});
    await expect(invoke(stranger)).rejects.toThrow(/certificate that is not trusted.*SSL_CERT_FILE/);
    expect(pve.requests).toEqual([]);
    await other.close();
  });

  test("says which setting it refuses, and not what is in it", async () => {
    pve.answers.set("GET version", { status: 401, reason: "No ticket" });
    const refused = invoke(plugin);
    await expect(refused).rejects.toThrow(/HTTP 401 No ticket.*proxmoxve:apiToken/);
    await expect(refused).rejects.not.toThrow(/ca4a12e5/);
  });

  test.each<[Properties, RegExp]>([
    [{ apiToken: TOKEN }, /proxmoxve:endpoint: is required/],
    [{ endpoint: "http://h:8006", apiToken: TOKEN }, /proxmoxve:endpoint: got "http:\/\/h:8006", want an https URL/],
    [{ endpoint: "https://h:8006" }, /proxmoxve:apiToken: is required/],
    [{ endpoint: "https://h:8006", apiToken: "root=ca4a12e5" }, /proxmoxve:apiToken: got another form \(not shown\)/],
    [{ endpoint: "https://h:8006", apiToken: TOKEN, nodes: [] }, /unknown property/],
  ])("settings %# are refused without a secret", async (settings, message) => {
    const configured = plugin.configure(settings, {});
    await expect(configured).rejects.toThrow(message);
    await expect(configured).rejects.not.toThrow(/ca4a12e5/);
  });
});
