import { access, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { MachineLog, MachineSpec, MachineState } from "../pve/machines.ts";
import { MachineCgroup } from "./cgroup.ts";
import { ConsoleLog } from "./console-log.ts";
import { renderMeminfo, writeGuestView } from "./guest-view.ts";
import { createMachineNetwork, type Nic, removeMachineNetwork, tapName } from "./network.ts";
import { describeEnd, guestLeader, POWER_OFF_SIGNAL, REBOOT_STATUS, spawnNspawn } from "./nspawn.ts";
import { matchedCards, placeNetworkMatches, placeSeed, readSeed } from "./seed.ts";

/** How long a guest's first process may take to appear, ms. It takes 50 ms; a loaded host needs more. */
const SPAWN_TIMEOUT_MS = 30_000;

/** Where one machine keeps what. */
export interface MachinePlaces {
  /** Files that live as long as the boot volume: the overlay's layers and `/var`. Absolute. */
  overlayDir: string;
  /** Files that are made anew at each start, and the console log. Absolute. */
  runDir: string;
  /** The read-only root file system under the overlay. Absolute. */
  rootfs: string;
}

/** One booted machine: a systemd-nspawn container on an overlay, in a network namespace and cgroups of its own. */
export class Machine {
  readonly spec: MachineSpec;
  readonly #lab: string;
  readonly #places: MachinePlaces;
  readonly #console: ConsoleLog;
  readonly #onEnd: () => void;
  #nics: Nic[] = [];
  #cgroup: MachineCgroup | undefined;
  #process: ReturnType<typeof spawnNspawn> | undefined;
  #bootedAt = 0;
  /** Set when nobody wants the machine to boot again, whatever the guest asks. */
  #ending = false;
  #ended: Promise<void> = Promise.resolve();

  /** @param onEnd called once, when the machine is down and everything of it is taken away, for whatever reason */
  constructor(lab: string, spec: MachineSpec, places: MachinePlaces, onEnd: () => void) {
    this.#lab = lab;
    this.spec = spec;
    this.#places = places;
    this.#onEnd = onEnd;
    this.#console = new ConsoleLog(join(places.runDir, "console.log"));
  }

  get #root(): string {
    return join(this.#places.runDir, "root");
  }

  get #guest(): string {
    return join(this.#places.runDir, "guest");
  }

  /** Pin of the machine's network namespace. */
  get netns(): string {
    return join(this.#places.runDir, "net");
  }

  /** Boots. Resolves when the guest's first process runs. @throws Error with nspawn's own words when it does not come up */
  async start(log: MachineLog): Promise<void> {
    try {
      await this.#prepare(log);
      await this.#boot();
    } catch (error) {
      await this.#takeDown();
      throw error;
    }
    this.#bootedAt = Date.now();
    this.#ended = this.#watch();
  }

  async #prepare(log: MachineLog): Promise<void> {
    const { overlayDir, rootfs } = this.#places;
    const seed = await readSeed(this.spec.cdromPaths);
    log(
      seed
        ? `seed image with ${[...seed.keys()].join(", ")}`
        : "no seed image is attached; cloud-init will find nothing to do",
    );
    const cards = matchedCards(seed?.get("network-config")?.toString("utf8") ?? "");
    this.#nics = this.spec.nics.map((nic, index) => ({
      guestName: cards.find(({ macAddress }) => macAddress === nic.macAddress.toLowerCase())?.setName ?? `eth${index}`,
      hostName: tapName(this.spec.vmId, index),
      macAddress: nic.macAddress,
      bridge: nic.bridge,
    }));
    const [upper, work, varDir] = [join(overlayDir, "upper"), join(overlayDir, "work"), join(overlayDir, "var")];
    for (const dir of [upper, work, this.#root]) await mkdir(dir, { recursive: true });
    // /var stays outside of the overlay: containerd makes overlays there, which do not stack, and kubelet wants to see a real disk.
    if (!(await exists(varDir))) {
      const partial = `${varDir}.partial`;
      await rm(partial, { recursive: true, force: true });
      await execa("cp", ["--archive", "--reflink=auto", "--no-target-directory", join(rootfs, "var"), partial], {
        stdin: "ignore",
      });
      await rename(partial, varDir);
    }
    await placeSeed(varDir, seed);
    await placeNetworkMatches(join(upper, "etc"), cards);
    await writeGuestView(this.#guest, this.spec, await readFile("/proc/cpuinfo", "utf8"));
    const layers = [rootfs, upper, work].map((path) => path.replace(/([\\:,])/g, "\\$1"));
    await execa(
      "mount",
      [
        "-t",
        "overlay",
        "overlay",
        "-o",
        `lowerdir=${layers[0]},upperdir=${layers[1]},workdir=${layers[2]}`,
        this.#root,
      ],
      { stdin: "ignore" },
    );
  }

  /** One boot, up to the guest's first process. Network and cgroups are new each time, as a VM's are after a reset. */
  async #boot(): Promise<void> {
    await createMachineNetwork(this.netns, this.#nics);
    await this.#cgroup?.remove();
    this.#cgroup = await MachineCgroup.create(this.#lab, this.spec.vmId, this.spec);
    const child = spawnNspawn({
      name: `${this.#lab}-${this.spec.vmId}`,
      root: this.#root,
      varDir: join(this.#places.overlayDir, "var"),
      guest: this.#guest,
      netns: this.netns,
      procsFiles: this.#cgroup.procsFiles,
    });
    this.#process = child;
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.#console.write(chunk);
        said = (said + chunk.toString("utf8")).slice(-2000);
      });
    }
    const deadline = Date.now() + SPAWN_TIMEOUT_MS;
    while (child.pid === undefined || (await guestLeader(child.pid)) === undefined) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
        throw new Error(
          `${this.spec.name}: systemd-nspawn ended at once (${describeEnd(await child)}): ${said.trim() || "it said nothing"}`,
        );
      }
      if (Date.now() > deadline) {
        child.kill("SIGKILL");
        throw new Error(
          `${this.spec.name}: no first process after ${SPAWN_TIMEOUT_MS / 1000} s: ${said.trim() || "systemd-nspawn said nothing"}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Follows the guest through its reboots, to its end. */
  async #watch(): Promise<void> {
    for (;;) {
      const result = await this.#process;
      if (result?.exitCode !== REBOOT_STATUS || this.#ending) {
        this.#console.write(
          `\r\n[lab] machine ${this.spec.vmId} is down: ${result ? describeEnd(result) : "no process"}\r\n`,
        );
        break;
      }
      this.#console.write(`\r\n[lab] machine ${this.spec.vmId} boots again\r\n`);
      try {
        await this.#boot();
      } catch (error) {
        this.#console.write(`\r\n[lab] ${error instanceof Error ? error.message : String(error)}\r\n`);
        break;
      }
    }
    await this.#takeDown();
  }

  async #takeDown(): Promise<void> {
    this.#ending = true;
    this.#process?.kill("SIGKILL");
    await this.#process;
    this.#process = undefined;
    const failures: unknown[] = [];
    const attempt = (work: Promise<unknown> | undefined) => work?.catch((error: unknown) => failures.push(error));
    await attempt(this.#cgroup?.remove());
    await attempt(removeMachineNetwork(this.netns, this.#nics));
    await execa("umount", ["--lazy", this.#root], { reject: false, stdin: "ignore" });
    for (const failure of failures) this.#console.write(`\r\n[lab] ${String(failure)}\r\n`);
    this.#onEnd();
  }

  /** Asks the guest's systemd to power off. @throws Error when it still runs after `timeoutMs`; it is left running */
  async shutdown(timeoutMs: number): Promise<void> {
    this.#ending = true;
    const pid = this.#process?.pid;
    const leader = pid === undefined ? undefined : await guestLeader(pid);
    if (leader !== undefined) process.kill(leader, POWER_OFF_SIGNAL);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), timeoutMs);
    });
    const outcome = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    if (outcome === "late") {
      this.#ending = false;
      throw new Error(
        `VM ${this.spec.vmId} (${this.spec.name}) still runs ${Math.round(timeoutMs / 1000)} s after it was asked to shut down; stop it, or allow it more time`,
      );
    }
  }

  /** Pulls the plug; resolves when nothing of the machine is left. */
  async stop(): Promise<void> {
    this.#ending = true;
    this.#process?.kill("SIGKILL");
    await this.#ended;
  }

  /** The machine as it is now. */
  async state(): Promise<MachineState> {
    const memory = await this.#cgroup?.memory();
    return {
      status: "running",
      ...(this.#process?.pid === undefined ? {} : { pid: this.#process.pid }),
      uptimeSeconds: Math.floor((Date.now() - this.#bootedAt) / 1000),
      ...(memory ? { memoryBytes: memory.usedBytes } : {}),
    };
  }

  /** Brings the guest's `/proc/meminfo` up to date. Rewritten in place: its mount inside the guest follows the file, not the name. */
  async refreshMeminfo(): Promise<void> {
    const memory = await this.#cgroup?.memory();
    if (!memory || this.#ending) return;
    const file = await open(join(this.#guest, "meminfo"), "r+").catch(() => undefined);
    if (!file) return;
    try {
      await file.write(renderMeminfo(this.spec.memoryMib, memory.usedBytes, memory.cacheBytes), 0);
    } finally {
      await file.close();
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
