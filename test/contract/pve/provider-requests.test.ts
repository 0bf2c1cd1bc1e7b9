import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { TOKEN, qcow2, record, servePve } from "./served-pve.ts";
import type { ServedPve } from "./served-pve.ts";
import { uploadImage } from "./vm-fixture.ts";

/** What the provider's own code sent; the file says which version and when. */
const Captured = z.strictObject({
  source: z.string(),
  requests: z.array(
    z.strictObject({ method: z.string(), path: z.string(), status: z.number(), body: z.string().optional() }),
  ),
});

test("every request that the real provider sent is understood, and its tasks end well", async () => {
  const { requests } = Captured.parse(
    JSON.parse(await readFile(join(import.meta.dirname, "provider-requests.json"), "utf8")),
  );
  const served = await servePve();
  const files = [
    ["iso", "seed.iso", Buffer.from("seed")],
    ["import", "ubuntu.qcow2", qcow2(3.5 * 1024 ** 3)],
  ] as const;
  let sent = 0;
  for (const { method, path, status, body } of requests) {
    if (body === "<multipart>") {
      const [content, name, bytes] = files[sent] ?? files[0];
      sent += 1;
      await uploadImage(served, content, name, bytes);
      continue;
    }
    const outcome = await send(served, method, path, body);
    expect({ method, path, ...outcome }).toEqual({
      method,
      path,
      status,
      task: outcome.task === undefined ? undefined : "OK",
    });
  }
  expect(sent).toBe(2);
  expect(requests.length).toBeGreaterThan(100);
  await served.close();
});

test("what it made reads back so that its next plan is empty", async () => {
  const { requests } = Captured.parse(
    JSON.parse(await readFile(join(import.meta.dirname, "provider-requests.json"), "utf8")),
  );
  const served = await servePve();
  await uploadImage(served, "iso", "seed.iso", Buffer.from("seed"));
  await uploadImage(served, "import", "ubuntu.qcow2", qcow2(3.5 * 1024 ** 3));
  await served.call("POST", "/pools", { poolid: "lab" });
  const create = requests.find(({ method, path }) => method === "POST" && path === "/nodes/pve/qemu");
  await send(served, "POST", "/nodes/pve/qemu", create?.body);
  await served.task("PUT", "/nodes/pve/qemu/201/resize", { disk: "scsi0", size: 34359738368 });
  const config = record((await served.call("GET", "/nodes/pve/qemu/201/config")).data);
  expect(config).toMatchObject({
    agent: "enabled=1,fstrim_cloned_disks=0,type=virtio",
    description: "a test",
    ide2: "local-lvm:vm-201-cloudinit,media=cdrom",
    ide3: "local:iso/seed.iso,media=cdrom,size=4",
    ipconfig0: "gw=192.168.1.1,ip=192.168.1.201/24",
    memory: "8192",
    scsi0: "local-lvm:vm-201-disk-0,aio=io_uring,backup=1,cache=none,discard=on,iothread=0,replicate=1,size=32G,ssd=1",
    serial0: "socket",
    tags: "gorkheavy;k3s",
  });
  // Once decoded, never twice: the provider decodes what it reads by itself.
  expect(config["sshkeys"]).toMatch(/^ssh-ed25519%20AAAA.*%20me%40home$/);
  await served.close();
});

async function send(
  served: ServedPve,
  method: string,
  path: string,
  body: string | undefined,
): Promise<{ status: number; task: string | undefined }> {
  const type: Record<string, string> =
    body === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" };
  const headers = {
    authorization: `PVEAPIToken=${TOKEN}`,
    "content-length": String(Buffer.byteLength(body ?? "")),
    ...type,
  };
  const { status, data } = await served.raw(
    method,
    `/api2/json${path}`,
    method === "GET" ? { authorization: headers.authorization } : headers,
    body,
  );
  const upid = typeof data === "string" && data.startsWith("UPID:") ? data : undefined;
  return { status, task: upid === undefined ? undefined : (await served.settled(upid)).exitstatus };
}
