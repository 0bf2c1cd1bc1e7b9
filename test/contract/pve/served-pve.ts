import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createPve, issueLabCertificates } from "../../../infra/lab/pve/index.ts";
import type { GuestInterface, MachineDriver, MachineSpec, Pve, PveOptions } from "../../../infra/lab/pve/index.ts";

/** The secret half is a canary: no answer and no log may hold it. */
export const SECRET = "5ec2e7aa-0000-4000-8000-00000000cafe";
export const TOKEN = `root@pam!lab=${SECRET}`;
export const PASSWORD = "correct horse battery staple";

/** One answer, as it was on the wire. */
export interface Answer {
  status: number;
  /** Reason phrase. */
  reason: string;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  /** `data` of the JSON body; undefined when there is no body. */
  data: unknown;
  message: string | undefined;
  errors: Record<string, string> | undefined;
}

/** A node that is served for one test, and ways to ask it. */
export interface ServedPve {
  pve: Pve;
  caPem: string;
  dataDir: string;
  /** Lines that the server logged. */
  logged: string[];
  /** A request as the provider makes it: parameters as a sorted form, or in the query for GET and DELETE. */
  call(method: string, path: string, params?: Record<string, string | number>): Promise<Answer>;
  raw(method: string, path: string, headers: Record<string, string>, body?: Buffer | string): Promise<Answer>;
  /** Like `call` with a task: waits for its end and answers its last status and log lines. */
  task(
    method: string,
    path: string,
    params?: Record<string, string | number>,
  ): Promise<{ exitstatus: string; lines: string[]; upid: string; type: string }>;
  /** Waits for a task that was asked for already. */
  settled(upid: string): Promise<{ exitstatus: string; lines: string[]; upid: string; type: string }>;
  close(): Promise<void>;
}

/** Serves a node on a free port with a data folder of its own. */
export async function servePve(options: Partial<PveOptions> = {}): Promise<ServedPve> {
  const root = await mkdtemp(join(tmpdir(), "gorkheavy-pve-test-"));
  const certificates = await issueLabCertificates(join(root, "certificates"), [
    { name: "pve", addresses: ["127.0.0.1"] },
  ]);
  const tls = certificates.servers["pve"];
  if (tls === undefined) throw new Error("no certificate");
  const logged: string[] = [];
  const dataDir = join(root, "data");
  const pve = await createPve({
    node: "pve",
    address: "127.0.0.1",
    port: 0,
    dataDir,
    machines: undefined,
    token: TOKEN,
    password: PASSWORD,
    tls,
    log: (line) => logged.push(line),
    authDelayMs: 0,
    ...options,
  });
  const { call, raw, task, settled } = clientOf(pve.port, certificates.caPem);
  return {
    pve,
    caPem: certificates.caPem,
    dataDir,
    logged,
    call,
    raw,
    task,
    settled,
    async close() {
      await pve.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Ways to ask a server on this machine. */
export function clientOf(port: number, caPem: string): Pick<ServedPve, "call" | "raw" | "task" | "settled"> {
  const raw: ServedPve["raw"] = (method, path, headers, body) =>
    new Promise((done, fail) => {
      const sent = request({ host: "127.0.0.1", port, method, path, headers, ca: caPem, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => done(answerOf(response, Buffer.concat(chunks).toString("utf8"))));
      });
      sent.on("error", fail);
      sent.end(body);
    });
  const call: ServedPve["call"] = (method, path, params = {}) => {
    const form = new URLSearchParams(
      Object.entries(params).map(([key, value]): [string, string] => [key, String(value)]),
    );
    form.sort();
    const text = form.toString();
    const authorization = `PVEAPIToken=${TOKEN}`;
    if (method === "GET" || method === "DELETE")
      return raw(method, `/api2/json${path}${text === "" ? "" : `?${text}`}`, { authorization });
    const type: Record<string, string> = text === "" ? {} : { "content-type": "application/x-www-form-urlencoded" };
    return raw(
      method,
      `/api2/json${path}`,
      { authorization, ...type, "content-length": String(Buffer.byteLength(text)) },
      text,
    );
  };
  const settled: ServedPve["settled"] = async (upid) => {
    const path = `/nodes/pve/tasks/${encodeURIComponent(upid)}`;
    for (;;) {
      const { data, status, text } = await call("GET", `${path}/status`);
      if (status !== 200) throw new Error(text);
      const state = record(data);
      if (state["status"] === "stopped") {
        const log = (await call("GET", `${path}/log`)).data;
        const lines = Array.isArray(log) ? log.map((line: unknown) => String(record(line)["t"])) : [];
        return { exitstatus: String(state["exitstatus"]), lines, upid, type: String(state["type"]) };
      }
      await sleep(5);
    }
  };
  const task: ServedPve["task"] = async (method, path, params) => {
    const { data, status, text } = await call(method, path, params);
    if (status !== 200 || typeof data !== "string") throw new Error(`${method} ${path}: ${status} ${text}`);
    return settled(data);
  };
  return { raw, call, settled, task };
}

function answerOf(
  response: { statusCode?: number; statusMessage?: string; headers: Answer["headers"] },
  text: string,
): Answer {
  const body = text === "" ? {} : record(JSON.parse(text));
  const errors = body["errors"];
  return {
    status: response.statusCode ?? 0,
    reason: response.statusMessage ?? "",
    headers: response.headers,
    text,
    data: body["data"],
    message: typeof body["message"] === "string" ? body["message"] : undefined,
    errors:
      errors === undefined
        ? undefined
        : Object.fromEntries(Object.entries(record(errors)).map(([key, value]) => [key, String(value)])),
  };
}

/** A JSON object's entries. @throws for anything else */
export function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`want an object, got ${JSON.stringify(value)}`);
  return Object.fromEntries(Object.entries(value));
}

/** A JSON array of objects. @throws for anything else */
export function records(value: unknown): Record<string, unknown>[] {
  if (!Array.isArray(value)) throw new Error(`want an array, got ${JSON.stringify(value)}`);
  return value.map(record);
}

/** A machine driver that boots nothing and remembers what it was asked. */
export interface FakeMachines extends MachineDriver {
  /** Specs of the starts, in order. */
  started: MachineSpec[];
  discarded: string[];
  /** What the guests' agents say; empty while they have not come up. */
  agent: GuestInterface[];
  /** When set, a shutdown is not heard. */
  deaf: boolean;
}

/** Makes one. Uptime counts the calls of `state` since the last start. */
export function fakeMachines(): FakeMachines {
  const running = new Map<number, number>();
  const fake: FakeMachines = {
    started: [],
    discarded: [],
    agent: [],
    deaf: false,
    start: async (spec, log) => {
      fake.started.push(spec);
      running.set(spec.vmId, 0);
      log(`booted ${spec.name}`);
    },
    shutdown: async (vmId, timeoutMs) => {
      if (fake.deaf) throw new Error(`VM ${vmId} still runs after ${timeoutMs} ms`);
      running.delete(vmId);
    },
    stop: async (vmId) => {
      running.delete(vmId);
    },
    state: async (vmId) => {
      const uptimeSeconds = running.get(vmId);
      if (uptimeSeconds === undefined) return { status: "stopped" };
      running.set(vmId, uptimeSeconds + 1);
      return { status: "running", pid: 4000 + vmId, uptimeSeconds, memoryBytes: 1024 };
    },
    interfaces: async () => fake.agent,
    discardDisk: async (path) => {
      fake.discarded.push(path);
    },
    close: async () => undefined,
  };
  return fake;
}

/** A QCOW2 header with nothing behind it: enough of an image to import. */
export function qcow2(virtualSizeBytes: number): Buffer {
  const image = Buffer.alloc(512);
  image.writeUInt32BE(0x514649fb, 0);
  image.writeUInt32BE(3, 4);
  image.writeUInt32BE(16, 20);
  image.writeBigUInt64BE(BigInt(virtualSizeBytes), 24);
  image.writeUInt32BE(104, 100);
  return image;
}

/** A multipart upload as the provider sends it: fields first, then the file. */
export function multipart(
  fields: Record<string, string>,
  filename: string,
  content: Buffer,
): { type: string; body: Buffer } {
  const boundary = "gorkheavy-boundary-7d1";
  const parts = Object.entries(fields).map(([name, value]) =>
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`),
  );
  const head = Buffer.from(
    `--${boundary}\r\nContent-Disposition: form-data; name="filename"; filename="${filename}"\r\nContent-Type: application/octet-stream\r\n\r\n`,
  );
  const body = Buffer.concat([...parts, head, content, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { type: `multipart/form-data; boundary=${boundary}`, body };
}
