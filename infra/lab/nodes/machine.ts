import { access, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { MachineLog, MachineSpec, MachineState } from "../pve/machines.ts";
import { MachineCgroup } from "./cgroup.ts";
import { ConsoleLog } from "./console-log.ts";
import { GUEST_DIR, renderMeminfo, writeGuestView } from "./guest-view.ts";
import { createMachineNetwork, type Nic, removeMachineNetwork, tapName } from "./network.ts";
import { matchedCards, placeNetworkMatches, placeSeed, readSeed } from "./seed.ts";

/** What nspawn exits with when the guest asked for a reboot and nspawn was told to keep its unit. Source: systemd v252, src/nspawn/nspawn.c. */
const REBOOT_STATUS = 133;

/** How long a guest's first process may take to appear, ms. It takes 50 ms; a loaded host needs more. */
const SPAWN_TIMEOUT_MS = 30_000;

/**
 * What nspawn's own filter refuses and a K3s node or `timedatectl` needs: keys for runc, eBPF for cgroup v2 device rules, and reading the clock's state.
 * Setting the clock stays impossible, since CAP_SYS_TIME is dropped.
 */
const SYSTEM_CALLS = "add_key keyctl request_key bpf adjtimex clock_adjtime";

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
    const child = spawnNspawn(this.#cgroup.procsFiles, this.#nspawn());
    this.#process = child;
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.#console.write(chunk);
        said = (said + chunk.toString("utf8")).slice(-2000);
      });
    }
    const deadline = Date.now() + SPAWN_TIMEOUT_MS;
    while (!(await this.#guestRuns())) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
        throw new Error(
          `${this.spec.name}: systemd-nspawn ended at once (${describe(await child)}): ${said.trim() || "it said nothing"}`,
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

  /** Whether nspawn has a child whose program is systemd: until then it is still setting up. */
  async #guestRuns(): Promise<boolean> {
    const pid = this.#process?.pid;
    if (pid === undefined) return false;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    for (const child of children.split(" ").filter((id) => id !== "")) {
      if ((await readFile(`/proc/${child}/comm`, "utf8").catch(() => "")).trim() === "systemd") return true;
    }
    return false;
  }

  #nspawn(): string[] {
    const { overlayDir } = this.#places;
    return [
      // In this order: the network namespace is entered first, so that the /sys that nspawn mounts shows the machine's cards.
      ...[
        "setpriv",
        "--pdeathsig",
        "KILL",
        "nsenter",
        `--net=${this.netns}`,
        "--",
        "systemd-nspawn",
        "--quiet",
        `--directory=${this.#root}`,
      ],
      `--network-namespace-path=${this.netns}`,
      `--machine=${`${this.#lab}-${this.spec.vmId}`}`,
      ...[
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        "--kill-signal=SIGRTMIN+3",
      ],
      // Neither the host's clock nor its kernel modules.
      ...["--capability=all", "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE"],
      `--system-call-filter=${SYSTEM_CALLS}`,
      "--bind=/dev/kmsg",
      `--bind=${escapeBind(join(overlayDir, "var"))}:/var`,
      `--bind-ro=${escapeBind(this.#guest)}:${GUEST_DIR}`,
      `${GUEST_DIR}/init`,
    ];
  }

  /** Follows the guest through its reboots, to its end. */
  async #watch(): Promise<void> {
    for (;;) {
      const result = await this.#process;
      if (result?.exitCode !== REBOOT_STATUS || this.#ending) {
        this.#console.write(
          `\r\n[lab] machine ${this.spec.vmId} is down: ${result ? describe(result) : "no process"}\r\n`,
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
    this.#process?.kill("SIGTERM");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), timeoutMs);
    });
    const outcome = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    if (outcome === "late") {
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

function spawnNspawn(procsFiles: readonly string[], argv: readonly string[]) {
  return execa("sh", ["-c", ENTER_CGROUPS, "sh", ...procsFiles, "--", ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    buffer: false,
    reject: false,
    // A signal to this process's group is no signal to the machines.
    detached: true,
    extendEnv: false,
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      // /proc/sys/net is the machine's own; everything else there, and /sys, is the host's and stays read-only.
      SYSTEMD_NSPAWN_API_VFS_WRITABLE: "network",
      SYSTEMD_NSPAWN_TMPFS_TMP: "0",
    },
  });
}

/** Shell: enter the cgroups named before `--`, then become the command after it. */
const ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"';

function describe(result: { exitCode?: number; signal?: string }): string {
  return result.signal ? `killed by ${result.signal}` : `exit ${result.exitCode ?? "unknown"}`;
}

/** nspawn takes `source:destination:options`; a colon in a path is written with a backslash. */
function escapeBind(path: string): string {
  return path.replace(/([\\:])/g, "\\$1");
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Whether a path is a directory. */
export async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
}
