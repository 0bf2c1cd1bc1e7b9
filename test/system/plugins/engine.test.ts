import { readFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import * as proxmox from "@muhlba91/pulumi-proxmoxve";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPve, issueLabCertificates } from "../../../infra/lab/pve/index.ts";
import type { Pve } from "../../../infra/lab/pve/index.ts";
import { qcow2 } from "../../contract/pve/served-pve.ts";
import { makeKey, startSshServer } from "../../contract/plugins/ssh-server.ts";
import type { TestSshServer } from "../../contract/plugins/ssh-server.ts";
import { createTestStack, findEngine } from "./engine.ts";
import type { TestStack } from "./engine.ts";

const engine = await findEngine();
const NODE = "thinkcentre-1";
const TOKEN = "root@pam!lab=5ec2e7aa-0000-4000-8000-0000ca4a12e5";
/** Texts that may be in no output and in no state in plain. */
const CANARIES = ["0000ca4a12e5", "canary-stdin", "BEGIN OPENSSH PRIVATE KEY"];
const SKIP = "no Pulumi engine: set GORKHEAVY_PULUMI to its binary, or put it on PATH";

/** What the program asks for; the tests change it between operations. */
interface Wish {
  memoryMib: number;
  diskGib: number;
  greeting: string;
  trigger: string;
  hostKey: string;
}

describe.skipIf(engine === undefined)(`the real engine with the lab's plugins (skipped when: ${SKIP})`, () => {
  const client = makeKey();
  const wish: Wish = { memoryMib: 8192, diskGib: 32, greeting: "one", trigger: "a", hostKey: "" };
  let root: string;
  let pve: Pve;
  let ssh: TestSshServer;
  let images: ReturnType<typeof createServer>;
  let tested: TestStack;

  beforeAll(async () => {
    if (engine === undefined) return;
    root = await mkdtemp(path.join(tmpdir(), "gorkheavy-engine-test-"));
    const certificates = await issueLabCertificates(root, [{ name: NODE, addresses: ["127.0.0.1"] }]);
    const tls = certificates.servers[NODE];
    if (tls === undefined) throw new Error("no certificate");
    const dataDir = path.join(root, "pve");
    const log = (): void => undefined;
    pve = await createPve({
      node: NODE,
      address: "127.0.0.1",
      port: 0,
      dataDir,
      machines: undefined,
      token: TOKEN,
      tls,
      log,
    });
    ssh = await startSshServer({ clientKey: client.publicKey });
    wish.hostKey = ssh.hostKey;
    const image = qcow2(3 * 1024 ** 3);
    images = createServer((request, response) => {
      response.setHeader("content-length", image.length).end(request.method === "HEAD" ? undefined : image);
    });
    await new Promise<void>((resolve) => images.listen(0, "127.0.0.1", resolve));
    await writeFile(path.join(root, "seed.iso"), Buffer.alloc(4096));
    tested = await createTestStack(engine, program, { SSL_CERT_FILE: certificates.caFile });
  }, 60_000);

  afterAll(async () => {
    if (engine === undefined) return;
    await tested.dispose();
    await ssh.close();
    await pve.close();
    images.close();
    await rm(root, { recursive: true, force: true });
  }, 60_000);

  async function program(): Promise<Record<string, unknown>> {
    await Promise.resolve();
    const provider = new proxmox.Provider("host", { endpoint: pve.endpoint, apiToken: TOKEN });
    const store = { nodeName: NODE, datastoreId: "local" };
    const url = `http://127.0.0.1:${(images.address() as AddressInfo).port}/u.img`;
    const image = new proxmox.download.File(
      "image",
      { ...store, contentType: "import", url, fileName: "u.qcow2", overwrite: false },
      { provider },
    );
    const seed = new proxmox.FileLegacy(
      "seed",
      { ...store, contentType: "iso", sourceFile: { path: path.join(root, "seed.iso"), fileName: "seed.iso" } },
      { provider, deleteBeforeReplace: true },
    );
    const vm = new proxmox.VmLegacy(
      "k3s-master",
      {
        nodeName: NODE,
        vmId: 201,
        name: "k3s-master",
        stopOnDestroy: true,
        cpu: { cores: 4, type: "x86-64-v2-AES" },
        memory: { dedicated: wish.memoryMib },
        disks: [{ interface: "scsi0", importFrom: "local:import/u.qcow2", size: wish.diskGib, discard: "on" }],
        cdrom: { interface: "ide2", fileId: "local:iso/seed.iso" },
        bootOrders: ["scsi0"],
        networkDevices: [{ bridge: "vmbr0" }],
      },
      { provider, dependsOn: [image, seed] },
    );
    const step = new command.remote.Command(
      "step",
      {
        connection: {
          host: "127.0.0.1",
          port: ssh.port,
          user: "gorkheavy",
          privateKey: pulumi.secret(client.privateKey),
          hostKey: wish.hostKey,
          dialErrorLimit: 0,
        },
        create: `cat >/dev/null; echo ${wish.greeting}`,
        delete: "echo bye",
        stdin: pulumi.secret("canary-stdin"),
        triggers: [wish.trigger],
      },
      { dependsOn: [vm] },
    );
    return { stdout: step.stdout, macs: vm.macAddresses, version: proxmox.getVersionOutput({ provider }).version };
  }

  const up = async () => (await tested.stack.up({ onOutput: tested.onOutput })).summary.resourceChanges;
  const preview = async () => (await tested.stack.preview({ onOutput: tested.onOutput })).changeSummary;

  test(
    "up, an empty preview, updates in place, a replacement, a refresh, and destroy",
    { timeout: 240_000 },
    async () => {
      expect(await preview()).toEqual({ create: 6 });
      expect(await up()).toEqual({ create: 6 });
      const outputs = await tested.stack.outputs();
      expect(outputs["stdout"]).toEqual({ value: "one", secret: true });
      expect(outputs["version"]?.value).toBe("9.0.11");
      expect(await preview()).toEqual({ same: 6 });

      Object.assign(wish, { memoryMib: 10_240, diskGib: 40, greeting: "two" });
      expect(await up()).toEqual({ same: 4, update: 2 });
      expect(await preview()).toEqual({ same: 6 });
      expect((await tested.stack.outputs())["macs"]).toEqual(outputs["macs"]);

      wish.trigger = "b";
      expect(await up()).toEqual({ same: 5, replace: 1 });
      expect((await tested.stack.refresh({ onOutput: tested.onOutput })).summary.resourceChanges).toEqual({ same: 6 });
      expect(await preview()).toEqual({ same: 6 });

      // The same step on a machine with another host key: refused, and the machine hears of nothing.
      const before = ssh.commands.length;
      Object.assign(wish, { hostKey: makeKey().publicKey, greeting: "three" });
      await expect(up()).rejects.toThrow(/host key mismatch/);
      expect(ssh.commands).toHaveLength(before);
      wish.hostKey = ssh.hostKey;

      const seen = `${tested.output.join("")}${await tested.readState()}`;
      expect(seen.includes("k3s-master")).toBe(true);
      for (const canary of CANARIES) expect(seen.includes(canary), canary).toBe(false);

      expect((await tested.stack.destroy({ onOutput: tested.onOutput })).summary.resourceChanges).toEqual({
        delete: 6,
      });
      expect(ssh.commands.at(-1)).toBe("echo bye");
    },
  );

  test("a plugin whose engine was killed ends by itself", { timeout: 60_000 }, async () => {
    const { spawn } = await import("node:child_process");
    const main = path.resolve(import.meta.dirname, "../../../infra/lab/plugins/command/main.ts");
    const parent = spawn("/bin/sh", ["-c", `'${process.execPath}' '${main}' & echo $!; wait`], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const lines = await new Promise<string>((resolve) => {
      let text = "";
      parent.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.split("\n").length > 2) resolve(text);
      });
    });
    const pid = Number(lines.split("\n")[0]);
    parent.kill("SIGKILL");
    await expect.poll(() => alive(pid), { timeout: 30_000 }).toBe(false);
  });
});

async function alive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone) X");
  // A zombie is over, too; whoever inherits it will bury it.
  return !/\) [XZ]/.test(status);
}
