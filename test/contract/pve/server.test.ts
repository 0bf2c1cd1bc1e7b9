import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPve } from "../../../infra/lab/pve/index.ts";
import { ENDPOINTS, renderEndpointTable } from "../../../infra/lab/pve/routes/index.ts";
import { PASSWORD, SECRET, TOKEN, record, servePve } from "./served-pve.ts";
import type { ServedPve } from "./served-pve.ts";

let served: ServedPve;
beforeAll(async () => {
  served = await servePve();
});
afterAll(() => served.close());

const get = (path: string, headers: Record<string, string>) => served.raw("GET", `/api2/json${path}`, headers);

describe("API token", () => {
  test("is all that a request needs", async () => {
    const answer = await served.raw(
      "POST",
      "/api2/json/pools",
      { authorization: `PVEAPIToken=${TOKEN}`, "content-type": "application/x-www-form-urlencoded" },
      "poolid=by-token",
    );
    expect([answer.status, answer.text]).toEqual([200, '{"data":null}']);
  });

  test.each([
    ["another secret", `PVEAPIToken=root@pam!lab=${SECRET.replace("cafe", "caff")}`],
    ["another name", `PVEAPIToken=root@pam!other=${SECRET}`],
    ["another user", `PVEAPIToken=eve@pam!lab=${SECRET}`],
    ["a longer secret", `PVEAPIToken=${TOKEN}0`],
  ])("with %s is refused without a word more", async (_, authorization) => {
    const answer = await get("/version", { authorization });
    expect([answer.status, answer.reason, answer.text]).toEqual([401, "Authentication failed!", ""]);
  });

  test("is missing: no ticket", async () => {
    const answer = await get("/version", {});
    expect([answer.status, answer.reason, answer.text, answer.headers["connection"]]).toEqual([
      401,
      "No ticket",
      "",
      "close",
    ]);
  });

  test("is never logged or answered, whatever is wrong", async () => {
    const answers = [
      await served.call("GET", `/nope/${SECRET.slice(0, 4)}`),
      await served.call("GET", "/version", { x: "1" }),
      await get("/version", { authorization: `PVEAPIToken=${TOKEN}x` }),
    ];
    expect(JSON.stringify([served.logged, answers])).not.toContain(SECRET);
  });

  test("answers to wrong ones are held back", async () => {
    const slow = await servePve({ authDelayMs: 150 });
    const before = performance.now();
    expect((await slow.raw("GET", "/api2/json/version", {})).status).toBe(401);
    expect(performance.now() - before).toBeGreaterThanOrEqual(140);
    await slow.close();
  });
});

describe("ticket", () => {
  const login = (password: string) =>
    served.raw(
      "POST",
      "/api2/json/access/ticket",
      { "content-type": "application/x-www-form-urlencoded" },
      new URLSearchParams({ username: "root@pam", password }).toString(),
    );

  test("is given for the password, and needs its CSRF token to change something", async () => {
    const data = record((await login(PASSWORD)).data);
    expect(data["username"]).toBe("root@pam");
    expect(String(data["ticket"]).split(":").length).toBeGreaterThan(3);
    const cookie = `PVEAuthCookie=${encodeURIComponent(String(data["ticket"]))}`;
    expect((await get("/version", { cookie })).status).toBe(200);
    const change = (csrf: Record<string, string>) =>
      served.raw(
        "POST",
        "/api2/json/pools",
        { cookie, "content-type": "application/x-www-form-urlencoded", ...csrf },
        "poolid=by-ticket",
      );
    const without = await change({});
    expect([without.status, without.reason]).toEqual([401, "Permission denied - invalid csrf token"]);
    expect((await change({ CSRFPreventionToken: String(data["CSRFPreventionToken"]) })).status).toBe(200);
  });

  test("is not given for another password, nor taken when changed", async () => {
    const answer = await login("wrong");
    expect([answer.status, answer.reason]).toEqual([401, "authentication failure"]);
    const ticket = String(record((await login(PASSWORD)).data)["ticket"]);
    expect(
      (await get("/version", { cookie: `PVEAuthCookie=${encodeURIComponent(ticket.replace("root", "toor"))}` })).status,
    ).toBe(401);
  });

  test("nobody logs in where no password is set", async () => {
    const closed = await servePve({ password: undefined });
    const body = "username=root@pam&password=undefined";
    expect(
      (
        await closed.raw(
          "POST",
          "/api2/json/access/ticket",
          { "content-type": "application/x-www-form-urlencoded" },
          body,
        )
      ).status,
    ).toBe(401);
    await closed.close();
  });
});

describe("errors", () => {
  test("an unknown path is not implemented", async () => {
    const answer = await served.call("GET", "/nodes/pve/lxc");
    expect([answer.status, answer.reason, answer.text]).toEqual([
      501,
      "Method 'GET /nodes/pve/lxc' not implemented",
      "",
    ]);
    expect((await served.call("PATCH", "/version")).status).toBe(501);
  });

  test("the message is the reason phrase and the body's message, with `data` null", async () => {
    const answer = await served.call("GET", "/nodes/pve/qemu/999/config");
    const text = "Configuration file 'nodes/pve/qemu-server/999.conf' does not exist";
    expect([answer.status, answer.reason, answer.headers["connection"]]).toEqual([500, text, "close"]);
    expect(JSON.parse(answer.text)).toEqual({ data: null, message: `${text}\n` });
  });

  test("every parameter that is wrong, missing or unknown is named in one answer", async () => {
    const answer = await served.call("POST", "/nodes/pve/qemu", { cores: 0, memroy: 8192, onboot: "maybe" });
    expect([answer.status, answer.reason, answer.message]).toEqual([
      400,
      "Parameter verification failed.",
      "Parameter verification failed.\n",
    ]);
    expect(answer.errors).toEqual({
      vmid: "property is missing and it is not optional",
      cores: "value must have a minimum value of 1",
      memroy: "property is not defined in schema and the schema does not allow additional properties",
      onboot: "type check ('boolean') failed - got 'maybe'",
    });
  });

  test("every endpoint refuses a parameter that it does not have", async () => {
    const accepted: string[] = [];
    for (const { method, path, open, upload } of ENDPOINTS) {
      if (open || upload) continue;
      const answer = await served.call(
        method,
        path.replace(/\{(\w+)\}/g, (_, name: string) => (name === "vmid" ? "100" : name === "node" ? "pve" : "x1")),
        { "no-such-parameter": 1 },
      );
      if (answer.errors?.["no-such-parameter"] === undefined) accepted.push(`${method} ${path}`);
    }
    expect(accepted).toEqual([]);
  });

  test("a body that is too large or of another type is refused", async () => {
    expect((await served.call("POST", "/pools", { poolid: "x", comment: "y".repeat(600_000) })).status).toBe(501);
    const xml = await served.raw(
      "POST",
      "/api2/json/pools",
      { authorization: `PVEAPIToken=${TOKEN}`, "content-type": "text/xml" },
      "<pool/>",
    );
    expect([xml.status, xml.reason]).toEqual([501, "got unexpected content type"]);
  });

  test("a task that nobody knows is an error that is not 400, which the provider would repeat for half an hour", async () => {
    for (const upid of ["UPID:pve:00000001:00000001:00000001:qmstart:100:root@pam:", "nonsense"]) {
      expect((await served.call("GET", `/nodes/pve/tasks/${encodeURIComponent(upid)}/status`)).status).toBe(500);
    }
  });
});

describe("connection", () => {
  test("TLS 1.3 and the lab's CA only", async () => {
    await expect(handshake({ maxVersion: "TLSv1.2", ca: served.caPem })).rejects.toThrow(/protocol version|alert/);
    await expect(handshake({})).rejects.toThrow(/unable to (verify|get)|self-signed/);
    await expect(handshake({ ca: served.caPem })).resolves.toBe("TLSv1.3");
  });

  test("a port that is taken is named", async () => {
    const { keyPem, certPem } = { keyPem: "", certPem: "" };
    const other = createPve({
      node: "pve",
      address: "127.0.0.1",
      port: served.pve.port,
      dataDir: `${served.dataDir}-2`,
      machines: undefined,
      token: TOKEN,
      tls: { certPem, keyPem },
      log: () => undefined,
    });
    await expect(other).rejects.toThrow(
      `cannot listen on 127.0.0.1 port ${served.pve.port}: another program listens there`,
    );
  });

  test("a folder that is served already is refused", async () => {
    const other = createPve({
      node: "pve",
      address: "127.0.0.1",
      port: 0,
      dataDir: served.dataDir,
      machines: undefined,
      token: TOKEN,
      tls: { certPem: "", keyPem: "" },
      log: () => undefined,
    });
    await expect(other).rejects.toThrow(/holds .*lock/);
  });

  function handshake(options: { maxVersion?: "TLSv1.2"; ca?: string }): Promise<string | null> {
    return new Promise((done, fail) => {
      const socket = connect({ host: "127.0.0.1", port: served.pve.port, ...options }, () => {
        done(socket.getProtocol());
        socket.destroy();
      });
      socket.on("error", fail);
    });
  }
});

describe("node and cluster", () => {
  test("the version is one that the provider uploads images to", async () => {
    const { version, release } = record((await served.call("GET", "/version")).data);
    expect([release, String(version)]).toEqual(["9.0", expect.stringMatching(/^9\.0\.\d+$/)]);
  });

  test("nodes, their figures and their network", async () => {
    expect((await served.call("GET", "/nodes")).data).toEqual([
      expect.objectContaining({ node: "pve", status: "online", level: "" }),
    ]);
    const { cpuinfo, memory } = record((await served.call("GET", "/nodes/pve/status")).data);
    expect(record(cpuinfo)["sockets"]).toBe(1);
    expect(Number(record(memory)["total"])).toBeGreaterThan(0);
    expect((await served.call("GET", "/nodes/pve/network")).data).toEqual([
      expect.objectContaining({ iface: "vmbr0", type: "bridge", address: "127.0.0.1" }),
    ]);
    expect((await served.call("GET", "/nodes/other/status")).reason).toContain("hostname lookup 'other' failed");
  });

  test("the lowest free id, or whether one is free", async () => {
    expect((await served.call("GET", "/cluster/nextid")).data).toBe("100");
    await served.task("POST", "/nodes/pve/qemu", { vmid: 100 });
    expect((await served.call("GET", "/cluster/nextid")).data).toBe("101");
    expect((await served.call("GET", "/cluster/nextid", { vmid: 100 })).errors).toEqual({
      vmid: "VM 100 already exists",
    });
    const again = await served.call("POST", "/nodes/pve/qemu", { vmid: 100 });
    expect([again.status, again.reason]).toEqual([
      500,
      "unable to create VM 100 - VM 100 already exists on node 'pve'",
    ]);
  });

  test("the table of endpoints lists each once", () => {
    const rows = renderEndpointTable().split("\n").slice(2);
    expect(rows).toHaveLength(ENDPOINTS.length);
    expect(new Set(ENDPOINTS.map(({ method, path }) => `${method} ${path}`)).size).toBe(ENDPOINTS.length);
    expect(rows.find((row) => row.includes("/resize"))).toBe(
      "| PUT | `/nodes/{node}/qemu/{vmid}/resize` | Make a disk larger | `disk`, `size`, `digest`, `skiplock` |",
    );
  });
});
