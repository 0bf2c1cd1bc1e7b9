import { createAdaptorServer } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { Agent, fetch as undiciFetch } from "undici";
import { z } from "zod";
import { listen } from "../release/forward.ts";

/** A way from the user's machine into the lab: a loopback port or a socket, and where it leads. */
export const Forward = z.strictObject({
  from: z.union([
    z.strictObject({ path: z.string() }),
    z.strictObject({ host: z.literal("127.0.0.1"), port: z.int().min(0).max(65535) }),
  ]),
  to: z.strictObject({
    host: z.ipv4(),
    port: z.int().min(1).max(65535),
    /** Node that leads there, for an address inside the cluster. Absent: on the lab's own network. */
    via: z.ipv4().optional(),
  }),
});
export type Forward = z.output<typeof Forward>;

/** One virtual machine as its Proxmox host tells it. */
export const MachineStatus = z.looseObject({
  host: z.string(),
  vmId: z.int(),
  name: z.string(),
  status: z.string(),
  memoryMib: z.number(),
  uptimeSeconds: z.number(),
});
export type MachineStatus = z.output<typeof MachineStatus>;

/** What the datacentre says of itself. */
export const DatacentreStatus = z.strictObject({
  lab: z.string(),
  pid: z.int(),
  since: z.string(),
  root: z.string(),
  machines: z.array(MachineStatus),
  forwards: z.array(Forward),
});
export type DatacentreStatus = z.output<typeof DatacentreStatus>;

const Failure = z.object({ error: z.string() });

/** The control API of one process of the datacentre: what it can say and open. Served on a socket for its owner only. */
export async function serveControl(
  socketPath: string,
  api: { status: () => Promise<unknown>; openForward: (forward: Forward) => Promise<Forward> },
): Promise<void> {
  const app = new Hono();
  app.get("/status", async (c) => c.json((await api.status()) as object));
  app.post("/forwards", async (c: Context) => c.json(await api.openForward(Forward.parse(await c.req.json()))));
  app.onError((error, c) => c.json({ error: error.message }, 500));
  const server = createAdaptorServer({ fetch: app.fetch });
  await listen(server, { path: socketPath });
}

/** Calls a control API. @throws Error when nothing answers there, or with what it answered */
export async function callControl<T>(
  socketPath: string,
  path: "/status" | "/forwards",
  answer: z.ZodType<T>,
  body?: Forward,
): Promise<T> {
  const dispatcher = new Agent({ connect: { socketPath } });
  try {
    const response = await undiciFetch(`http://datacentre${path}`, {
      dispatcher,
      method: body ? "POST" : "GET",
      ...(body ? { body: JSON.stringify(body), headers: { "content-type": "application/json" } } : {}),
    });
    const json: unknown = await response.json();
    if (!response.ok) throw new Error(Failure.safeParse(json).data?.error ?? `datacentre: HTTP ${response.status}`);
    return answer.parse(json);
  } finally {
    await dispatcher.close();
  }
}
