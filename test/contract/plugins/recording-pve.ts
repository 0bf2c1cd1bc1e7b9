import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { issueLabCertificates } from "../../../infra/lab/pve/index.ts";

/** The secret half is a canary: no message may hold it. */
export const TOKEN = "root@pam!lab=5ec2e7aa-0000-4000-8000-0000ca4a12e5";

/** What a handler answers: data for 200, or a refusal. */
export type Reply =
  | { data: unknown }
  | { status: number; reason: string; message?: string; errors?: Record<string, string> };

/** A Proxmox VE API of this test: answers from a table, keeps what was asked. */
export interface RecordingPve {
  endpoint: string;
  caFile: string;
  /** `METHOD path?query body`, with path below /api2/json, in order; bodies decoded once. */
  requests: string[];
  /** Authorization headers seen. */
  authorizations: Set<string>;
  /** Answers by `METHOD path` without query; a function sees the decoded form and query. */
  answers: Map<string, Reply | ((parameters: URLSearchParams) => Reply)>;
  close(): Promise<void>;
}

/** A task id of node `pve`, as Proxmox writes it. */
export function upid(type: string): string {
  return `UPID:pve:0000C530:001C9BEC:61E7C4F3:${type}:201:root@pam!lab:`;
}

/** Serves on 127.0.0.1 with a certificate of its own authority. Every task is done at once. */
export async function startRecordingPve(): Promise<RecordingPve> {
  const root = await mkdtemp(path.join(tmpdir(), "gorkheavy-recording-pve-"));
  const certificates = await issueLabCertificates(root, [{ name: "pve", addresses: ["127.0.0.1"] }]);
  const pair = certificates.servers["pve"];
  if (pair === undefined) throw new Error("no certificate");
  const pve: RecordingPve = {
    endpoint: "",
    caFile: certificates.caFile,
    requests: [],
    authorizations: new Set(),
    answers: new Map(),
    close: () => Promise.resolve(),
  };
  const server = createServer({ cert: pair.certPem, key: pair.keyPem }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "https://pve");
      const below = url.pathname.replace("/api2/json/", "");
      const body = Buffer.concat(chunks).toString("utf8");
      const isForm = request.headers["content-type"] === "application/x-www-form-urlencoded";
      const form = new URLSearchParams(isForm ? body : "");
      const shown = [...form].map(([key, value]) => `${key}=${value}`).join("&");
      pve.authorizations.add(request.headers.authorization ?? "");
      pve.requests.push(
        `${request.method ?? ""} ${below}${decodeURIComponent(url.search)}${shown === "" ? "" : ` ${shown}`}`,
      );
      const found = pve.answers.get(`${request.method ?? ""} ${below}`);
      const parameters = new URLSearchParams([...url.searchParams, ...form]);
      const reply = typeof found === "function" ? found(parameters) : (found ?? defaultReply(below));
      if ("data" in reply) {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ data: reply.data }));
      } else {
        response.writeHead(reply.status, reply.reason, { connection: "close" });
        response.end(
          JSON.stringify({ data: null, message: reply.message ?? `${reply.reason}\n`, errors: reply.errors }),
        );
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  pve.endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  pve.close = async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(root, { recursive: true, force: true });
  };
  return pve;
}

function defaultReply(below: string): Reply {
  if (/\/tasks\/[^/]+\/status$/.test(below)) return { data: { status: "stopped", exitstatus: "OK" } };
  return { status: 501, reason: `Method '${below}' not implemented` };
}
