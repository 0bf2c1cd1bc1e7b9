import { afterEach, beforeEach } from "vitest";
import { TOKEN, fakeMachines, multipart, qcow2, record, servePve } from "./served-pve.ts";
import type { FakeMachines, ServedPve } from "./served-pve.ts";

// The provider's own way through a VM's life (shared notes "pve-api", section 2, read from bpg/terraform-provider-proxmox v0.111.1).
/** Bytes of one GiB. */
export const GIB = 1024 ** 3;
/** Path of the VM that the tests make. */
export const VM = "/nodes/pve/qemu/100";

/** The create body of section 2b, key for key, without its optional ones. */
export const CREATE = {
  acpi: 1,
  agent: "enabled=1,fstrim_cloned_disks=0,type=virtio",
  balloon: 0,
  bios: "seabios",
  boot: "order=scsi0;net0",
  ciuser: "ubuntu",
  cipassword: "canary-password",
  cores: 4,
  cpu: "x86-64-v2-AES",
  ide2: "file=local-lvm:cloudinit,",
  ipconfig0: "gw=10.0.0.1,ip=10.0.0.50/24",
  keyboard: "en-us",
  memory: 8192,
  name: "k3s-master",
  nameserver: "1.1.1.1 8.8.8.8",
  net0: "model=virtio,bridge=vmbr0,firewall=0",
  numa: 0,
  onboot: 1,
  ostype: "l26",
  protection: 0,
  scsi0:
    "file=local-lvm:0,import-from=local:import/x.qcow2,size=34359738368,aio=io_uring,backup=1,iothread=0,ssd=0,discard=ignore,cache=none,replicate=1",
  scsihw: "virtio-scsi-pci",
  searchdomain: "home.lab",
  sockets: 1,
  sshkeys: "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIGJ%20me%40home%0A",
  tablet: 1,
  tags: "k3s;Server",
  template: 0,
  vmid: 100,
};
/** What a disk of that body reads back with, between its volume and its size. */
export const DISK = "aio=io_uring,backup=1,cache=none,discard=ignore,iothread=0,replicate=1";

/** A node with an image to import, and the VM of `CREATE` once it is made. */
export interface VmFixture {
  served: ServedPve;
  machines: FakeMachines;
  /** Makes the VM. @throws when its task fails */
  create(changes?: Record<string, string | number>): Promise<void>;
  config(): Promise<Record<string, unknown>>;
  status(): Promise<Record<string, unknown>>;
}

/** A fresh node before each test of a file; its fields are set by then. */
export function vmFixture(): VmFixture {
  const fixture: Partial<Pick<VmFixture, "served" | "machines">> = {};
  const served = () => {
    if (fixture.served === undefined) throw new Error("the fixture is set up before each test only");
    return fixture.served;
  };
  beforeEach(async () => {
    fixture.machines = fakeMachines();
    fixture.served = await servePve({ machines: fixture.machines });
    await uploadImage(served(), "import", "x.qcow2", qcow2(3.5 * GIB));
  });
  afterEach(() => served().close());
  return {
    get served() {
      return served();
    },
    get machines() {
      return fixture.machines ?? fakeMachines();
    },
    async create(changes = {}) {
      const made = await served().task("POST", "/nodes/pve/qemu", { ...CREATE, ...changes });
      if (made.exitstatus !== "OK") throw new Error(made.exitstatus);
    },
    config: async () => record((await served().call("GET", `${VM}/config`)).data),
    status: async () => record((await served().call("GET", `${VM}/status/current`)).data),
  };
}

/** Uploads a file to `local` and waits for its task. */
export async function uploadImage(served: ServedPve, content: string, name: string, bytes: Buffer): Promise<void> {
  const { type, body } = multipart({ content }, name, bytes);
  const headers = {
    authorization: `PVEAPIToken=${TOKEN}`,
    "content-type": type,
    "content-length": String(body.length),
  };
  const answer = await served.raw("POST", "/api2/json/nodes/pve/storage/local/upload", headers, body);
  const { exitstatus } = await served.settled(String(answer.data));
  if (exitstatus !== "OK") throw new Error(exitstatus);
}
