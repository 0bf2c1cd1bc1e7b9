import { z } from "zod";
import {
  BackendSchema,
  ImageRefSchema,
  memberProblems,
  MembersSchema,
  OLLAMA_IMAGE,
  OllamaImageSchema,
  planFit,
  renderMisfit,
  StoreChoiceSchema,
  VLLM_IMAGE,
  workloadsOf,
} from "../components/index.ts";
import {
  DeadlinesSchema,
  ENSEMBLE_LABEL,
  MemberNameSchema,
  PROFILES,
  ProfileNameSchema,
} from "../runtime/contracts/index.ts";
import { DEFAULT_DNS } from "../infra/index.ts";
import { checkAddresses, checkMachines, state } from "./checks.ts";
import { SettingsError, renderIssues } from "./errors.ts";

/** Where the settings are in the stack's configuration. */
export const SETTINGS_KEY = "gorkheavy:settings";

const HostName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "want lower-case letters, digits and '-', at most 63 of them");
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "want 64 hexadecimal digits, as sha256sum prints them");
const HttpUrl = z.url({ protocol: /^https?$/, error: "want an http or https URL" });

/** One Proxmox VE machine. Source of the defaults: Proxmox's own installation (`local`, `local-lvm`, `vmbr0`). */
const HostSchema = z.strictObject({
  /** What this machine is called here; nodes point at it. */
  name: HostName,
  /** `https://<address>:8006` */
  endpoint: z.url({ protocol: /^https$/, error: "want an https URL such as https://192.168.1.211:8006" }),
  /** Its name within Proxmox. */
  node: HostName,
  /** Name of the Proxmox cluster that it is a member of. Absent: a single host. */
  cluster: HostName.optional(),
  /** Storage for the VMs' disks. */
  datastore: z.string().min(1).default("local-lvm"),
  /** Storage of content type `iso` and `import` for the cloud image and the first-boot seeds. */
  imageDatastore: z.string().min(1).default("local"),
  /** Bridge that the VMs' network cards are on. */
  bridge: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9_.-]{0,14}$/, "want a bridge such as vmbr0, at most 15 characters")
    .default("vmbr0"),
});

/** One virtual machine. Source of the defaults: Gorkheavy-Lite README, "Create Virtual Machine". */
const NodeSchema = z.strictObject({
  /** Host name, VM name and Kubernetes node name. */
  name: HostName,
  /** `server` runs the control plane; `agent` runs the ensemble. */
  role: z.enum(["server", "agent"]),
  /** Name of the host it is on. */
  host: z.string().min(1),
  vmId: z.int(),
  address: z.string(),
  cores: z.int().min(1).max(128).default(4),
  memoryMib: z.int().min(1024).max(4_194_304).default(8192),
  diskGib: z.int().min(8).max(65_536).default(32),
});

const EnsembleSettings = z.strictObject({
  namespace: MemberNameSchema.default(ENSEMBLE_LABEL),
  profile: ProfileNameSchema.default("default"),
  backend: BackendSchema.default("ollama"),
  /** Image of our runtime. */
  image: ImageRefSchema,
  ollamaImage: OllamaImageSchema.default(OLLAMA_IMAGE),
  vllmImage: ImageRefSchema.default(VLLM_IMAGE),
  /** What differs from the catalogue, by member name. */
  members: MembersSchema.prefault({}),
  /** Where weights are kept. Absent: on each worker; in the seed's profile with their pods. */
  store: StoreChoiceSchema.optional(),
  deadlines: DeadlinesSchema.optional(),
  /** Address ranges that may reach the service beside its own namespace. */
  clients: z.array(z.cidrv4("want an address range such as 192.168.1.0/24")).optional(),
  serviceType: z.enum(["ClusterIP", "NodePort", "LoadBalancer"]).default("ClusterIP"),
  quota: z.boolean().default(false),
  /** Who may ask. Absent: `kubectl port-forward` alone; in the seed's profile everyone. */
  access: z
    .strictObject({
      anonymous: z.enum(["loopback", "everyone", "nobody"]).optional(),
      /** Secret of the ensemble's namespace whose `keys.yaml` holds the clients' keys. */
      keysSecret: z.string().min(1).optional(),
      trustedProxies: z.array(z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()])).optional(),
    })
    .optional(),
});

/** Everything that a stack decides. */
export const SettingsSchema = z
  .strictObject({
    hosts: z.array(HostSchema).min(1),
    // Addresses and VM ids are checked together, by the address plan.
    network: z.strictObject({
      /** Range that the nodes are in. */
      subnet: z.string(),
      gateway: z.string(),
      /** Name servers. */
      dns: z.array(z.string()).default([...DEFAULT_DNS]),
    }),
    nodes: z.array(NodeSchema).min(1),
    ssh: z
      .strictObject({
        /** The same on every VM. */
        user: z
          .string()
          .regex(/^[a-z_][a-z0-9_-]{0,31}$/, "want a Linux user name")
          .default("gorkheavy"),
      })
      .prefault({}),
    image: z.strictObject({
      /** Cloud image of Ubuntu Server. */
      url: HttpUrl,
      /** Absent: what the publisher's server hands out is taken. */
      sha256: Sha256.optional(),
      /** Name on the datastore. */
      fileName: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.(qcow2|raw|vmdk)$/, "want a file name ending in .qcow2, .raw or .vmdk"),
    }),
    k3s: z.strictObject({
      version: z.string().regex(/^v1\.\d+\.\d+\+k3s\d+$/, "want an exact version such as v1.34.2+k3s1"),
      /** Folder of releases; `<releaseUrl>/<version>/k3s` is fetched. */
      releaseUrl: HttpUrl.default("https://github.com/k3s-io/k3s/releases/download"),
      /** Of the binary. Absent: the release's own sha256sum file. */
      sha256: Sha256.optional(),
      /** Parts of K3s to leave out. */
      disable: z.array(z.enum(["coredns", "servicelb", "traefik", "local-storage", "metrics-server"])).default([]),
      /** Image archives that each node imports before K3s starts. */
      airgapImages: z.array(z.strictObject({ url: HttpUrl, sha256: Sha256 })).default([]),
    }),
    ensemble: EnsembleSettings,
    /** Whether Pulumi refuses to delete or replace a VM. Where machines come and go by these settings, false. */
    protect: z.boolean().default(true),
  })
  .superRefine((settings, ctx) => {
    checkMachines(settings, ctx);
    checkAddresses(settings, ctx);
    const { members, profile } = settings.ensemble;
    // A choice that could not be read was reported, and no member is planned then.
    if (!Array.isArray(members)) return;
    for (const { path, message } of memberProblems(members, settings.ensemble)) {
      ctx.addIssue({ code: "custom", path: ["ensemble", "members", ...path], message });
    }
    const fit = planFit(settings.nodes, workloadsOf(members), PROFILES[profile]);
    if (!fit.fits) state(ctx, `nodes: ${renderMisfit(fit)}`);
  });
/** Everything that a stack decides, checked, defaults filled in. */
export type Settings = z.output<typeof SettingsSchema>;
/** Settings as they are written in `Pulumi.<stack>.yaml`. */
export type SettingsInput = z.input<typeof SettingsSchema>;

/** Checks settings. @throws SettingsError, one line for each bad setting: its path, what it got, what is allowed, what to do. */
export function parseSettings(raw: unknown): Settings {
  const parsed = SettingsSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw new SettingsError(renderIssues(SETTINGS_KEY, parsed.error.issues, raw));
}
