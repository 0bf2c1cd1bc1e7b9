import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { z } from "zod";
import { sweep } from "../../../infra/lab/nodes/cleanup.ts";
import { makeImage } from "../../../infra/lab/nodes/image.ts";
import { isolated } from "../../../infra/lab/nodes/isolation.ts";
import { createLabNetwork } from "../../../infra/lab/nodes/network.ts";
import { buildRootfs, hostRelease, rootfsKey } from "../../../infra/lab/nodes/rootfs.ts";
import { cached } from "../../../infra/lab/tools/cache.ts";
import { renderSeed } from "../../../infra/proxmox/seed/cloud-init.ts";
import { renderIso } from "../../../infra/proxmox/seed/iso9660.ts";

const Answer = z.strictObject({ id: z.int(), value: z.unknown().optional(), error: z.string().optional() });

/** Three machines in a lab of their own, with keys and seeds as the real stack makes them, and no Proxmox in between. */
export class MachineLab {
  readonly name: string;
  readonly dir: string;
  readonly #rootfs: string;
  #process: ChildProcess | undefined;
  #asked = 0;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();

  private constructor(name: string, dir: string, rootfs: string) {
    this.name = name;
    this.dir = dir;
    this.#rootfs = rootfs;
  }

  static async create(name: string): Promise<MachineLab> {
    const entry = await cached("rootfs", rootfsKey(await hostRelease()), (into, report) => buildRootfs(into, report));
    const lab = new MachineLab(name, await mkdtemp(join(tmpdir(), `gk-${name}-`)), join(entry.dir, "rootfs"));
    await lab.#makeKeys();
    return lab;
  }

  get stateDir(): string {
    return join(this.dir, "state");
  }

  async #makeKeys(): Promise<void> {
    const keygen = (file: string) =>
      execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", join(this.dir, file)]);
    await keygen("user");
    const read = (file: string) => readFile(join(this.dir, file), "utf8");
    const known: string[] = [];
    for (const number of [1, 2, 3]) {
      await keygen(`host${number}`);
      const hostKey = { privateKey: await read(`host${number}`), publicKey: (await read(`host${number}.pub`)).trim() };
      known.push(`192.168.1.20${number} ${hostKey.publicKey}`);
      const seed = renderSeed({
        hostName: `node-${number}`,
        user: "gorkheavy",
        authorizedKeys: [(await read("user.pub")).trim()],
        hostKey,
        instanceId: `node-${number}`,
        macAddress: this.spec(number).nics[0]?.macAddress ?? "",
        address: `192.168.1.20${number}`,
        prefix: 24,
        gateway: "192.168.1.1",
        dns: ["192.168.1.1"],
        packages: [],
      });
      await writeFile(join(this.dir, `seed${number}.iso`), renderIso("cidata", { ...seed }));
    }
    await writeFile(join(this.dir, "known_hosts"), `${known.join("\n")}\n`);
  }

  /** @param number 1 to 3 */
  spec(number: number, memoryMib = 8192) {
    return {
      vmId: 200 + number,
      name: `node-${number}`,
      cores: 4,
      memoryMib,
      bootDiskPath: join(this.stateDir, `vm-20${number}-disk-0.raw`),
      diskSizeBytes: 32 * 1024 ** 3,
      nics: [{ name: "net0", macAddress: `BC:24:11:00:02:0${number}`, bridge: "vmbr0" }],
      cdromPaths: [join(this.dir, `seed${number}.iso`)],
    };
  }

  /** Starts the process that holds the machines; resolves at once. */
  async open(): Promise<void> {
    await mkdir(this.stateDir, { recursive: true });
    for (const number of [1, 2, 3]) await writeFile(this.spec(number).bootDiskPath, makeImage("test"));
    await createLabNetwork(this.name);
    const script = join(import.meta.dirname, "machines-process.ts");
    const argv = [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      script,
      this.name,
      join(this.stateDir, "machines"),
      this.#rootfs,
    ];
    const [program = "", ...rest] = isolated(this.name, argv, "datacentre");
    const child = spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"], detached: true });
    this.#process = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { id, value, error } = Answer.parse(JSON.parse(line));
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    child.on("exit", () => {
      for (const { reject } of this.#waiting.values())
        reject(new Error("the process that holds the machines has ended"));
      this.#waiting.clear();
    });
  }

  /** Asks the driver. @throws Error with the driver's message, or when its process ends */
  async ask(call: string, spec: ReturnType<MachineLab["spec"]>): Promise<unknown> {
    const id = (this.#asked += 1);
    const answered = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#process?.stdin?.write(`${JSON.stringify({ id, call, spec })}\n`);
    return answered;
  }

  /** Kills the process that holds the machines, as a crash would. */
  async crash(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Runs a command on a machine, with its host key checked. */
  async ssh(number: number, command: string, knownHosts = "known_hosts") {
    const options = [
      "BatchMode=yes",
      "ConnectTimeout=2",
      "StrictHostKeyChecking=yes",
      `UserKnownHostsFile=${join(this.dir, knownHosts)}`,
      "GlobalKnownHostsFile=/dev/null",
      "LogLevel=INFO",
    ];
    const argv = [
      "ssh",
      "-F",
      "/dev/null",
      "-i",
      join(this.dir, "user"),
      ...options.flatMap((option) => ["-o", option]),
    ];
    const [program = "", ...rest] = isolated(this.name, [...argv, `gorkheavy@192.168.1.20${number}`, command]);
    return execa(program, rest, { reject: false, stdin: "ignore", timeout: 30_000, all: true });
  }

  /** Waits until a machine answers. @returns ms that it took. @throws Error after 60 s, with SSH's last words and the console's */
  async sshUp(number: number): Promise<number> {
    const started = Date.now();
    for (;;) {
      const { exitCode, all } = await this.ssh(number, "true");
      if (exitCode === 0) return Date.now() - started;
      if (Date.now() - started > 60_000) {
        const journal = `${this.spec(number).bootDiskPath}.overlay/var/log/journal`;
        const { stdout: log } = await execa(
          "journalctl",
          [
            "--directory",
            journal,
            "--no-pager",
            "--lines=60",
            "--unit=ssh",
            "--unit=systemd-logind",
            "--unit=init.scope",
          ],
          {
            reject: false,
          },
        );
        throw new Error(`node-${number} does not answer: ${all}\n${log}`);
      }
      await delay(100);
    }
  }

  /** Takes down what is left of the lab. */
  async sweep(): Promise<string[]> {
    return sweep(this.name, { stateDir: this.stateDir });
  }

  /** Ends everything. */
  async remove(): Promise<void> {
    await this.crash();
    await this.sweep();
    await rm(this.dir, { recursive: true, force: true });
  }
}
