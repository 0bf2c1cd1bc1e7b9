import { Agent, fetch as undiciFetch } from "undici";
import { z } from "zod";
import { PROXMOX_PORT } from "./config.ts";
import type { MachineStatus } from "./control.ts";

const Resource = z.looseObject({
  vmid: z.int(),
  name: z.string().default(""),
  status: z.string(),
  maxmem: z.number().default(0),
  uptime: z.number().default(0),
});
const Resources = z.object({ data: z.array(Resource) });
const VmConfig = z.object({ data: z.looseObject({ onboot: z.number().optional() }) });

/** One Proxmox host, asked the way any client asks it. */
export class ProxmoxClient {
  readonly #base: string;
  readonly #node: string;
  readonly #authorization: string;
  readonly #dispatcher: Agent;

  /** @param token `user@realm!name=uuid` @param ca PEM */
  constructor(host: { name: string; address: string }, token: string, ca: string) {
    this.#base = `https://${host.address}:${PROXMOX_PORT}/api2/json`;
    this.#node = host.name;
    this.#authorization = `PVEAPIToken=${token}`;
    this.#dispatcher = new Agent({ connect: { ca } });
  }

  async machines(): Promise<MachineStatus[]> {
    const { data } = Resources.parse(await this.#call("GET", "/cluster/resources?type=vm"));
    return data.map((vm) => ({
      host: this.#node,
      vmId: vm.vmid,
      name: vm.name,
      status: vm.status,
      memoryMib: Math.round(vm.maxmem / 1024 / 1024),
      uptimeSeconds: vm.uptime,
    }));
  }

  /** Starts what is stopped and marked to start with its host, as a Proxmox host does after a power cut. */
  async startOnBoot(): Promise<number[]> {
    const begun: number[] = [];
    for (const vm of await this.machines()) {
      if (vm.status === "running") continue;
      const { data } = VmConfig.parse(await this.#call("GET", `/nodes/${this.#node}/qemu/${vm.vmId}/config`));
      if (data.onboot !== 1) continue;
      await this.#call("POST", `/nodes/${this.#node}/qemu/${vm.vmId}/status/start`);
      begun.push(vm.vmId);
    }
    return begun;
  }

  /** Whether the host has a VM of this id. */
  async hasMachine(vmId: number): Promise<boolean> {
    return (await this.machines()).some((vm) => vm.vmId === vmId);
  }

  async close(): Promise<void> {
    await this.#dispatcher.close();
  }

  async #call(method: "GET" | "POST", path: string): Promise<unknown> {
    const response = await undiciFetch(`${this.#base}${path}`, {
      method,
      dispatcher: this.#dispatcher,
      headers: { authorization: this.#authorization },
    });
    if (!response.ok) throw new Error(`${this.#node}: ${method} ${path}: ${response.status} ${response.statusText}`);
    return response.json();
  }
}
