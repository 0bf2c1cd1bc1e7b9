import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { failure } from "../api-error.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { parseVmConfig, renderVmConfig } from "../format/vm-config-file.ts";
import type { VmConfig } from "../format/vm-config-file.ts";

/** The VMs' configurations: one file each, as Proxmox keeps them, read once and written through. */
export class VmStore {
  readonly #directory: string;
  readonly #node: string;
  readonly #texts: Map<number, string>;

  private constructor(directory: string, node: string, texts: Map<number, string>) {
    this.#directory = directory;
    this.#node = node;
    this.#texts = texts;
  }

  /** Reads every `<id>.conf` of a folder, which is made when missing. */
  static async open(directory: string, node: string): Promise<VmStore> {
    await mkdir(directory, { recursive: true });
    const texts = new Map<number, string>();
    for (const file of await readdir(directory)) {
      const id = /^(\d+)\.conf$/.exec(file)?.[1];
      if (id !== undefined) texts.set(Number(id), await readFile(join(directory, file), "utf8"));
      else if (file.endsWith(".tmp")) await rm(join(directory, file), { force: true });
    }
    return new VmStore(directory, node, texts);
  }

  /** Ids in ascending order. */
  ids(): number[] {
    return [...this.#texts.keys()].sort((a, b) => a - b);
  }

  has(vmId: number): boolean {
    return this.#texts.has(vmId);
  }

  /** A copy of a VM's configuration. @throws ApiError 500 `Configuration file '…' does not exist` */
  read(vmId: number): VmConfig {
    const text = this.#texts.get(vmId);
    if (text === undefined)
      throw failure(`Configuration file 'nodes/${this.#node}/qemu-server/${vmId}.conf' does not exist`);
    return parseVmConfig(text);
  }

  /** Stores a configuration, on disk before it shows. */
  async write(vmId: number, config: VmConfig): Promise<void> {
    const text = renderVmConfig(config);
    await writeFileAtomically(join(this.#directory, `${vmId}.conf`), text);
    this.#texts.set(vmId, text);
  }

  /** Forgets a VM. */
  async remove(vmId: number): Promise<void> {
    await rm(join(this.#directory, `${vmId}.conf`), { force: true });
    this.#texts.delete(vmId);
  }
}

/** @throws ApiError 500 `VM is locked (x)` */
export function assertUnlocked(config: VmConfig): void {
  const lock = config.values["lock"];
  if (lock !== undefined) throw failure(`VM is locked (${lock})`);
}

/** Whether an option of a configuration is on, as a boolean option or one part of a longer text. */
export function isOn(config: VmConfig, key: string): boolean {
  return config.values[key] === "1";
}
