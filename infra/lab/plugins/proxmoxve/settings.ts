import { readFileSync } from "node:fs";
import tls from "node:tls";
import { z } from "zod";
import type { Properties } from "../provider.ts";
import { checkShape, flag, integer, list, object, oneOf, text, textLike } from "../shape.ts";
import { plainOf } from "../values.ts";

/** Provider settings that the SDK sends as JSON text. Source: @muhlba91/pulumi-proxmoxve 8.6.0, provider.js. */
export const JSON_SETTINGS = ["insecure", "randomVmIdEnd", "randomVmIdStart", "randomVmIds", "ssh"] as const;

/** Source: bpg provider v0.111.1, proxmox/api/token_authenticator.go. */
const TOKEN = /^\S+@\S+!\S+=[a-zA-Z0-9-]+$/;
const TOKEN_HINT = "USER@REALM!TOKENID=UUID, such as root@pam!gorkheavy=01234567-89ab-cdef-0123-456789abcdef";

/** Settings as `new Provider` takes them; which of them this stand-in refuses is said by {@link parseSettings}. */
export const settingsShape = object({
  apiToken: textLike(TOKEN, TOKEN_HINT),
  authTicket: text,
  csrfPreventionToken: text,
  endpoint: textLike(/^https:\/\/[^/\s]+\/?/, "an https URL, such as https://192.168.1.211:8006"),
  insecure: flag,
  minTls: oneOf("1.0", "1.1", "1.2", "1.3"),
  otp: text,
  password: text,
  randomVmIdEnd: integer(100, 999_999_999),
  randomVmIdStart: integer(100, 999_999_999),
  randomVmIds: flag,
  ssh: object({
    agent: flag,
    agentForwarding: flag,
    agentSocket: text,
    nodeAddressSource: oneOf("api", "dns"),
    nodes: list(object({ address: text, name: text, port: integer(1, 65_535) }, ["address", "name"])),
    password: text,
    privateKey: text,
    socks5Password: text,
    socks5Server: text,
    socks5Username: text,
    username: text,
  }),
  tmpDir: text,
  username: text,
});

const settingsSchema = z.object({
  endpoint: z.string().optional(),
  apiToken: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  insecure: z.boolean().optional(),
  minTls: z.enum(["1.0", "1.1", "1.2", "1.3"]).optional(),
});

/** How to log in: a token on every request, or a ticket by name and password. */
export type Credentials = { kind: "token"; token: string } | { kind: "password"; username: string; password: string };

/** What a client needs to reach one Proxmox host. */
export interface Settings {
  /** Scheme, host and port; any path was dropped, as the provider does. */
  origin: URL;
  credentials: Credentials;
  insecure: boolean;
  minTls: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
  /** PEM certificates that a server's certificate may lead to. */
  trust: string[];
}

/** The provider's own environment variables. Source: bpg provider v0.111.1, proxmoxtf/provider/schema.go. */
export type SettingsEnvironment = Partial<
  Record<
    "PROXMOX_VE_ENDPOINT" | "PROXMOX_VE_API_TOKEN" | "PROXMOX_VE_USERNAME" | "PROXMOX_VE_PASSWORD" | "SSL_CERT_FILE",
    string
  >
>;

/** Reads the provider's settings. @throws Error that names the setting and never quotes a secret. */
export function parseSettings(config: Properties, environment: SettingsEnvironment): Settings {
  const [failure] = checkShape(config, settingsShape);
  if (failure !== undefined) {
    const secret = ["apiToken", "password", "authTicket", "csrfPreventionToken", "otp"].includes(failure.property);
    const reason = secret
      ? failure.reason.replace(/^got .*, want /, "got another form (not shown), want ")
      : failure.reason;
    throw new Error(`proxmoxve:${failure.property}: ${reason}`);
  }
  const given = settingsSchema.parse(plainOf(config));
  const endpoint = given.endpoint ?? environment.PROXMOX_VE_ENDPOINT;
  if (endpoint === undefined || endpoint === "") {
    throw new Error("proxmoxve:endpoint: is required; give the host's API, such as https://192.168.1.211:8006");
  }
  return {
    origin: new URL("/", endpoint),
    credentials: parseCredentials(given, environment),
    insecure: given.insecure ?? false,
    minTls: ({ "1.0": "TLSv1", "1.1": "TLSv1.1", "1.2": "TLSv1.2", "1.3": "TLSv1.3" } as const)[given.minTls ?? "1.3"],
    trust: readTrust(environment.SSL_CERT_FILE),
  };
}

function parseCredentials(given: z.output<typeof settingsSchema>, environment: SettingsEnvironment): Credentials {
  const token = given.apiToken ?? environment.PROXMOX_VE_API_TOKEN;
  if (token !== undefined && token !== "") {
    if (!TOKEN.test(token)) throw new Error(`proxmoxve:apiToken: got another form (not shown), want ${TOKEN_HINT}`);
    return { kind: "token", token };
  }
  const username = given.username ?? environment.PROXMOX_VE_USERNAME;
  const password = given.password ?? environment.PROXMOX_VE_PASSWORD;
  if (username !== undefined && password !== undefined) return { kind: "password", username, password };
  throw new Error(`proxmoxve:apiToken: is required (or username and password); want ${TOKEN_HINT}`);
}

/** As Go on Linux: SSL_CERT_FILE replaces the system's bundle. @throws Error naming the file when it cannot be read. */
function readTrust(file: string | undefined): string[] {
  if (file === undefined || file === "") return tls.getCACertificates("system");
  try {
    return [readFileSync(file, "utf8")];
  } catch (error) {
    throw new Error(`SSL_CERT_FILE: cannot read ${file}: ${error instanceof Error ? error.message : "unknown error"}`, {
      cause: error,
    });
  }
}
