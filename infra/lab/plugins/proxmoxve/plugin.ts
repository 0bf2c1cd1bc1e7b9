import type { ProviderPlugin } from "../provider.ts";
import { checkShape } from "../shape.ts";
import { plainOf, sameValue } from "../values.ts";
import { createPveClient } from "./client.ts";
import type { PveClient } from "./client.ts";
import { downloadFileResource } from "./download-file.ts";
import { fileResource } from "./file.ts";
import { functions } from "./functions.ts";
import { poolResource } from "./pool.ts";
import type { Resource } from "./resource.ts";
import { JSON_SETTINGS, parseSettings, settingsShape } from "./settings.ts";
import type { SettingsEnvironment } from "./settings.ts";
import { vmResource } from "./vm/resource.ts";

/** The version of the SDK whose behaviour this stands in for. */
export const PROXMOXVE_VERSION = "8.6.0";

const resources: Record<string, Resource> = {
  "proxmoxve:index/vmLegacy:VmLegacy": vmResource,
  "proxmoxve:download/file:File": downloadFileResource,
  "proxmoxve:index/fileLegacy:FileLegacy": fileResource,
  "proxmoxve:index/poolLegacy:PoolLegacy": poolResource,
};

/** A stand-in for the `proxmoxve` provider: one host's VMs, images, uploads and pools over the Proxmox VE API. */
export function createProxmoxvePlugin(environment: SettingsEnvironment): ProviderPlugin {
  let client: PveClient | undefined;
  const connected = (): PveClient => {
    if (client === undefined) throw new Error("proxmoxve: the provider is not configured");
    return client;
  };
  const resourceOf = (type: string): Resource => {
    const resource = resources[type];
    if (resource !== undefined) return resource;
    throw new Error(
      `proxmoxve: unknown resource type ${type}; the lab's stand-in has ${Object.keys(resources).join(", ")}`,
    );
  };
  return {
    name: "proxmoxve",
    version: PROXMOXVE_VERSION,
    acceptsSecrets: true,
    jsonConfigKeys: JSON_SETTINGS,
    async configure(config) {
      // As the provider does: settings are read, nothing is sent.
      client = createPveClient(parseSettings(config, environment));
      await Promise.resolve();
    },
    async checkConfig(news) {
      const hidden = ["apiToken", "password", "authTicket", "csrfPreventionToken", "otp"];
      const failures = checkShape(news, settingsShape).map(({ property, reason }) =>
        hidden.includes(property)
          ? { property, reason: reason.replace(/^got .*, want /s, "got another form (not shown), want ") }
          : { property, reason },
      );
      return { inputs: news, failures };
    },
    async diffConfig(olds, news) {
      const keys = [...new Set([...Object.keys(olds), ...Object.keys(news)])];
      const changed = keys.filter((key) => !sameValue(olds[key], news[key]));
      return {
        changes: changed.length > 0,
        replaces: [],
        detailed: Object.fromEntries(
          changed.map((key) => [
            key,
            plainOf(olds[key]) === null ? "add" : plainOf(news[key]) === null ? "delete" : "update",
          ]),
        ),
      };
    },
    check: (call) => resourceOf(call.type).check(call),
    diff: (call) => resourceOf(call.type).diff(call),
    create: (call) => resourceOf(call.type).create(call, call.preview ? (client ?? unconfigured) : connected()),
    read: (call) => resourceOf(call.type).read(call, connected()),
    update: (call) => resourceOf(call.type).update(call, call.preview ? (client ?? unconfigured) : connected()),
    delete: (call) => resourceOf(call.type).delete(call, connected()),
    async invoke({ token, args, signal }) {
      const found = functions[token];
      if (found === undefined) {
        throw new Error(
          `proxmoxve: unknown function ${token}; the lab's stand-in has ${Object.keys(functions).join(", ")}`,
        );
      }
      return { properties: await found(args, connected(), signal) };
    },
  };
}

const refuse = (): Promise<never> => Promise.reject(new Error("proxmoxve: a preview touches no host"));
const unconfigured: PveClient = { get: refuse, post: refuse, put: refuse, delete: refuse, upload: refuse };
