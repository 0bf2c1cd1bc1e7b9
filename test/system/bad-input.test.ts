// Bad settings, bad hosts and bad machines, as a user meets them: exit code 1, one message that names what was wrong,
// what is allowed and what to do, and nothing made.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { labOf } from "../../infra/lab/lab.ts";
import { TestLab } from "../support/lab.ts";

const lab = new TestLab("badtest");
const places = labOf(lab.name);
const root = resolve(import.meta.dirname, "../..");
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "bad-input-"));
});
afterAll(async () => {
  await lab.run(["down"], { mayFail: true });
  await rm(dir, { recursive: true, force: true });
});

describe("settings that a preview refuses", () => {
  test.each<[string, Record<string, unknown>, RegExp[]]>([
    ["an address twice", { "nodes.1.address": "192.168.1.201" }, [/192\.168\.1\.201/, /nodes/]],
    ["an address of another network", { "nodes.1.address": "10.0.0.5" }, [/10\.0\.0\.5/, /192\.168\.1\.0\/24/]],
    ["one id for two VMs", { "nodes.1.vmId": 201 }, [/201/, /vmId/]],
    ["an unknown profile", { "ensemble.profile": "fast" }, [/fast/, /default or seed/]],
    ["an unknown model", { "ensemble.members": { llama: { model: "nothing:1b" } } }, [/nothing:1b/, /llama3\.2:1b/]],
    [
      "a limit below its request",
      {
        "ensemble.members": {
          llama: {
            resources: {
              requests: { cpuMillicores: 400, memoryMib: 2048 },
              limits: { cpuMillicores: 900, memoryMib: 1024 },
            },
          },
        },
      },
      [/1024/, /2048/],
    ],
    [
      "an ensemble that does not fit",
      { "nodes.1.memoryMib": 2560, "nodes.2.memoryMib": 2560 },
      [/Mi/, /short|lack|more/i],
    ],
    ["a setting that does not exist", { "nodes.1.memory": 8192 }, [/memory/]],
  ])("%s", async (_name, set, wanted) => {
    const ran = await lab.run(["preview", "--stack", "lab"], { mayFail: true, set });
    expect(ran.exitCode).toBe(1);
    for (const part of wanted) expect(ran.all).toMatch(part);
    expect(ran.all).not.toMatch(/\n\s+at .*\.ts:\d+/);
    await nothingMade();
  });

  test("a malformed token, which is not shown", async () => {
    const file = join(dir, "token");
    await writeFile(file, "root@pam-lab:super-secret-value");
    const ran = await lab.run(["preview", "--stack", "homelab", "--token-file", file], { mayFail: true });
    expect(ran.exitCode).toBe(1);
    expect(ran.all).toMatch(/proxmoxApiToken/);
    expect(ran.all).not.toContain("super-secret-value");
  });

  test("an unknown stack", async () => {
    const ran = await lab.run(["preview", "--stack", "staging"], { mayFail: true });
    expect([ran.exitCode, ran.all.trim()]).toEqual([1, '--stack: got "staging", want one of homelab, lab.']);
  });
});

describe("commands", () => {
  test("that are not given what they need", async () => {
    for (const [args, wanted] of [
      [["nonsense"], /nonsense/],
      [["--name", "No Good", "status"], /--name: got "No Good", want/],
      [["--set", "nothing", "up"], /want PATH=VALUE/],
      [["ask", "hello"], /is not up\. Start it: npm run lab/],
      [["ssh", "k3s-master"], /is not up/],
      [["pve", "--token", "not-a-token"], /want USER@REALM!TOKENID=UUID/],
    ] as const) {
      const ran = await lab.run([...args], { mayFail: true });
      expect(ran.exitCode, args.join(" ")).toBe(1);
      expect(ran.all).toMatch(wanted);
    }
  });

  test("on a port in use", async () => {
    const server: Server = createServer();
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const ran = await lab.run(
      ["pve", "--port", String(port), "--token", "root@pam!lab=00000000-0000-4000-8000-000000000000"],
      { mayFail: true },
    );
    server.close();
    expect(ran.exitCode).toBe(1);
    expect(ran.all).toContain(String(port));
  });

  test("by somebody who is not root", async () => {
    const ran = await execa(
      "setpriv",
      [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        process.execPath,
        join(root, "infra/lab/main.ts"),
        "--name",
        "badtest",
        "up",
      ],
      { reject: false, all: true, env: { HOME: dir, XDG_CACHE_HOME: dir, XDG_STATE_HOME: dir } },
    );
    expect(ran.exitCode).toBe(1);
    expect(ran.all).toMatch(/root/);
    await nothingMade();
  });

  test("without a system program, when installing is not wanted", async () => {
    const bin = join(dir, "bin");
    await execa("mkdir", ["-p", bin]);
    for (const program of ["ip", "iptables", "nsenter", "ssh", "ssh-keygen", "mmdebstrap"]) {
      await execa("ln", ["-sf", (await execa("sh", ["-c", `command -v ${program}`])).stdout, join(bin, program)]);
    }
    const ran = await execa(
      process.execPath,
      [join(root, "infra/lab/main.ts"), "--name", "badtest", "--no-install", "up"],
      { reject: false, all: true, env: { PATH: bin } },
    );
    expect(ran.exitCode).toBe(1);
    expect(ran.all).toMatch(/--no-install.*systemd-nspawn \(package systemd-container/);
  });
});

describe("hosts that are not as the settings say", () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ["one that does not answer", { "hosts.2.endpoint": "https://192.168.1.250:8006" }, /192\.168\.1\.250/],
    ["a datastore that is not there", { "hosts.2.imageDatastore": "nowhere" }, /nowhere/],
    ["a datastore for disks that is not there", { "hosts.2.datastore": "nowhere" }, /nowhere/],
  ])("%s", async (_name, set, wanted) => {
    const ran = await lab.run(["up"], { mayFail: true, set });
    expect(ran.exitCode).toBe(1);
    expect(ran.all).toMatch(wanted);
    const status = await lab.run(["status", "--json"]);
    expect(JSON.parse(status.stdout)).toMatchObject({ datacentre: { machines: [] } });
  });
});

test("a bridge that is not there, which only the host itself can tell", async () => {
  const ran = await lab.run(["up"], { mayFail: true, set: { "hosts.2.bridge": "vmbr9" } });
  expect(ran.exitCode).toBe(1);
  expect(ran.all).toMatch(/bridge 'vmbr9' does not exist/);
});

async function nothingMade(): Promise<void> {
  expect(await readdir(places.stateDir).catch(() => "absent")).toBe("absent");
  expect((await readdir("/run/netns").catch(() => [])).filter((name) => name === "gorkheavy-badtest")).toEqual([]);
}
