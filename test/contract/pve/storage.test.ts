import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { Server } from "node:http";
import { readdir } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { multipart, qcow2, records, servePve, TOKEN } from "./served-pve.ts";
import type { Answer, ServedPve } from "./served-pve.ts";

const LOCAL = "/nodes/pve/storage/local";
const IMAGE = qcow2(1024 ** 3);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

let served: ServedPve;
let origin: Server;
let url: string;
beforeEach(async () => {
  served = await servePve();
  origin = createServer((request, response) => {
    const files: Record<string, Buffer> = {
      "/x.qcow2": IMAGE,
      "/packed.gz": gzipSync(IMAGE),
      "/text.qcow2": Buffer.from("<html>"),
    };
    const file = files[request.url ?? ""];
    if (file === undefined) response.writeHead(404).end();
    else
      response
        .writeHead(200, { "content-length": file.length, "content-type": "application/octet-stream; x=y" })
        .end(request.method === "HEAD" ? undefined : file);
  });
  await new Promise<void>((done) => origin.listen(0, "127.0.0.1", done));
  const bound: AddressInfo | string | null = origin.address();
  url = `http://127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`;
});
afterEach(async () => {
  await served.close();
  origin.closeAllConnections();
  await new Promise((done) => origin.close(done));
});

async function upload(fields: Record<string, string>, name: string, content: Buffer): Promise<Answer> {
  const { type, body } = multipart(fields, name, content);
  const headers = {
    authorization: `PVEAPIToken=${TOKEN}`,
    "content-type": type,
    "content-length": String(body.length),
  };
  return served.raw("POST", `/api2/json${LOCAL}/upload`, headers, body);
}
const volids = async (content: string) =>
  records((await served.call("GET", `${LOCAL}/content`, { content })).data).map((volume) => volume["volid"]);
const leftovers = async () =>
  (
    await Promise.all(
      ["uploads", "storage/local/import", "storage/local/template/iso"].map((folder) =>
        readdir(join(served.dataDir, folder)),
      ),
    )
  ).flat();

describe("download (2a)", () => {
  const order = (changes: Record<string, string | number> = {}) => ({
    content: "import",
    filename: "x.qcow2",
    node: "pve",
    storage: "local",
    url: `${url}/x.qcow2`,
    "verify-certificates": 1,
    ...changes,
  });

  test("asks for the metadata, fetches, and lists the image", async () => {
    const metadata = await served.call("GET", "/nodes/pve/query-url-metadata", {
      url: `${url}/x.qcow2`,
      "verify-certificates": 1,
    });
    expect(metadata.data).toEqual({ filename: "x.qcow2", size: IMAGE.length, mimetype: "application/octet-stream" });
    const fetched = await served.task(
      "POST",
      `${LOCAL}/download-url`,
      order({ checksum: sha256(IMAGE), "checksum-algorithm": "sha256" }),
    );
    expect(fetched).toMatchObject({ exitstatus: "OK", type: "download" });
    expect(fetched.upid).toContain(":download:x.qcow2:root@pam!lab:");
    const [listed, ...others] = records((await served.call("GET", `${LOCAL}/content`, { content: "import" })).data);
    expect(others).toEqual([]);
    expect(listed).toMatchObject({
      volid: "local:import/x.qcow2",
      content: "import",
      format: "qcow2",
      size: IMAGE.length,
    });
    expect(Number.isInteger(listed?.["ctime"])).toBe(true);
  });

  test("says what the server behind the URL answered", async () => {
    const answer = await served.call("GET", "/nodes/pve/query-url-metadata", { url: `${url}/gone.qcow2` });
    expect([answer.status, answer.reason]).toEqual([500, "invalid server response: '404 Not Found'"]);
  });

  test("leaves no file when checksum, content or server are wrong", async () => {
    const wrong = await served.task(
      "POST",
      `${LOCAL}/download-url`,
      order({ checksum: "0".repeat(64), "checksum-algorithm": "sha256" }),
    );
    expect(wrong.exitstatus).toBe(`checksum mismatch: got '${sha256(IMAGE)}' != expect '${"0".repeat(64)}'`);
    const page = await served.task("POST", `${LOCAL}/download-url`, order({ url: `${url}/text.qcow2` }));
    expect(page.exitstatus).toBe("'x.qcow2' is not in format 'qcow2'");
    const gone = await served.task("POST", `${LOCAL}/download-url`, order({ url: `${url}/gone` }));
    expect(gone.exitstatus).toContain("404 Not Found");
    expect(await leftovers()).toEqual([]);
  });

  test("refuses to override a file, unless it is the very one", async () => {
    await served.task("POST", `${LOCAL}/download-url`, order());
    expect((await served.task("POST", `${LOCAL}/download-url`, order())).exitstatus).toContain(
      "refusing to override existing file",
    );
    const same = await served.task(
      "POST",
      `${LOCAL}/download-url`,
      order({ url: `${url}/gone`, checksum: sha256(IMAGE), "checksum-algorithm": "sha256" }),
    );
    expect(same.exitstatus).toBe("OK");
    const deleted = await served.task("DELETE", `${LOCAL}/content/import%2Fx.qcow2`);
    expect(deleted).toMatchObject({ type: "imgdel", exitstatus: "OK" });
    expect((await served.task("POST", `${LOCAL}/download-url`, order())).exitstatus).toBe("OK");
  });

  test("unpacks what is compressed, and checks the sum of what was sent", async () => {
    const packed = order({
      url: `${url}/packed.gz`,
      compression: "gz",
      checksum: sha256(gzipSync(IMAGE)),
      "checksum-algorithm": "sha256",
    });
    expect((await served.task("POST", `${LOCAL}/download-url`, packed)).exitstatus).toBe("OK");
    expect(records((await served.call("GET", `${LOCAL}/content`)).data)[0]).toMatchObject({ size: IMAGE.length });
  });

  test.each([
    [{ filename: "x.iso" }, { filename: "invalid filename or wrong extension" }],
    [{ content: "iso" }, { filename: "wrong file extension" }],
    [{ url: "ftp://x/y" }, { url: "invalid format - value does not look like a valid URL" }],
    [{ checksum: "0".repeat(64) }, { "checksum-algorithm": "missing checksum-algorithm for given checksum" }],
    [{ node: "other" }, { node: "duplicate parameter (already defined in URI) with conflicting values!" }],
    [
      { content: "snippets" },
      { content: "value 'snippets' does not have a value in the enumeration 'iso, vztmpl, import'" },
    ],
    [
      { colour: "red" },
      { colour: "property is not defined in schema and the schema does not allow additional properties" },
    ],
  ])("refuses %o by name", async (change, errors) => {
    const answer = await served.call("POST", `${LOCAL}/download-url`, order(change));
    expect([answer.status, answer.reason]).toEqual([400, "Parameter verification failed."]);
    expect(answer.errors).toEqual(errors);
  });

  test("a datastore must be there and be set up for the content", async () => {
    const wrong = await served.call(
      "POST",
      "/nodes/pve/storage/local-lvm/download-url",
      order({ storage: "local-lvm" }),
    );
    expect([wrong.status, wrong.reason]).toEqual([
      500,
      "storage 'local-lvm' is not configured for content-type 'import'",
    ]);
    const none = await served.call("POST", "/nodes/pve/storage/nfs/download-url", order({ storage: "nfs" }));
    expect([none.status, none.reason]).toEqual([500, "storage 'nfs' does not exist"]);
  });
});

describe("upload", () => {
  test("stores an ISO file by way of a task, and replaces one of that name", async () => {
    for (const content of ["first", "second one"]) {
      const answer = await upload({ content: "iso" }, "seed.iso", Buffer.from(content));
      expect(answer.data).toMatch(/^UPID:pve:.*:imgcopy::root@pam!lab:$/);
      expect((await served.settled(String(answer.data))).exitstatus).toBe("OK");
      expect(records((await served.call("GET", `${LOCAL}/content`, { content: "iso" })).data)).toEqual([
        expect.objectContaining({ volid: "local:iso/seed.iso", format: "iso", size: content.length }),
      ]);
    }
    expect(await leftovers()).toEqual(["seed.iso"]);
  });

  test("carries bytes that look like a boundary, and many of them", async () => {
    const content = Buffer.concat([
      Buffer.from("\r\n--gorkheavy-boundary"),
      Buffer.alloc(3_000_000, 13),
      Buffer.from("\r\n--"),
    ]);
    const sum = sha256(content);
    const answer = await upload({ content: "iso", checksum: sum, "checksum-algorithm": "sha256" }, "big.img", content);
    expect((await served.settled(String(answer.data))).exitstatus).toBe("OK");
  });

  test("a wrong checksum, a wrong name or half a body leave nothing", async () => {
    const wrong = await upload(
      { content: "iso", checksum: "0".repeat(64), "checksum-algorithm": "sha256" },
      "seed.iso",
      Buffer.from("x"),
    );
    expect((await served.settled(String(wrong.data))).exitstatus).toMatch(/^checksum mismatch: got '/);
    expect((await upload({ content: "iso" }, "seed.exe", Buffer.from("x"))).errors).toEqual({
      filename: "wrong file extension",
    });
    expect((await upload({ content: "iso", colour: "red" }, "seed.iso", Buffer.from("x"))).errors).toHaveProperty(
      "colour",
    );
    const { type, body } = multipart({ content: "iso" }, "half.iso", Buffer.alloc(100));
    const half = body.subarray(0, body.length - 20);
    const headers = {
      authorization: `PVEAPIToken=${TOKEN}`,
      "content-type": type,
      "content-length": String(half.length),
    };
    const answer = await served.raw("POST", `/api2/json${LOCAL}/upload`, headers, half);
    expect([answer.status, answer.reason]).toEqual([400, "upload ended before its closing boundary"]);
    expect(await leftovers()).toEqual([]);
  });

  test("a name cannot lead out of its folder", async () => {
    const answer = await upload({ content: "iso" }, "../../../etc/evil name.iso", Buffer.from("x"));
    await served.settled(String(answer.data));
    expect(await volids("iso")).toEqual(["local:iso/evil_name.iso"]);
    const outside = await served.call("GET", `${LOCAL}/content/${encodeURIComponent("iso/..")}`);
    expect([outside.status, outside.reason]).toEqual([500, "unable to parse directory volume name 'iso/..'"]);
  });

  test("a chunked body is refused, as Proxmox does", async () => {
    const headers = {
      authorization: `PVEAPIToken=${TOKEN}`,
      "transfer-encoding": "chunked",
      "content-type": "multipart/form-data; boundary=x",
    };
    expect((await served.raw("POST", `/api2/json${LOCAL}/upload`, headers, "--x--")).status).toBe(501);
  });
});

describe("datastores", () => {
  test("are listed with space and content, and filtered by it", async () => {
    const all = records((await served.call("GET", "/nodes/pve/storage", { enabled: 1 })).data);
    expect(all.map(({ storage, type, content, active, shared }) => [storage, type, content, active, shared])).toEqual([
      ["local", "dir", "import,iso,snippets,vztmpl", 1, 0],
      ["local-lvm", "lvmthin", "images,rootdir", 1, 0],
    ]);
    expect(
      records((await served.call("GET", "/nodes/pve/storage", { content: "images" })).data).map(
        ({ storage }) => storage,
      ),
    ).toEqual(["local-lvm"]);
    expect((await served.call("GET", `${LOCAL}/status`)).data).toMatchObject({ type: "dir", active: 1 });
    expect((await served.call("GET", "/storage/local")).data).toMatchObject({
      content: "import,iso,snippets,vztmpl",
      type: "dir",
    });
  });

  test("removing what is not there is a task that ends well", async () => {
    expect((await served.task("DELETE", `${LOCAL}/content/local:import%2Fgone.qcow2`)).exitstatus).toBe("OK");
    expect((await served.call("GET", `${LOCAL}/content/local:import%2Fgone.qcow2`)).reason).toBe(
      "volume 'local:import/gone.qcow2' does not exist",
    );
  });
});
