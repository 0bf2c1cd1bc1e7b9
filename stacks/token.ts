import { z } from "zod";
import { SettingsError } from "./errors.ts";

/** Where the token is in the stack's configuration. */
export const TOKEN_KEY = "gorkheavy:proxmoxApiToken";

/** Shape of a Proxmox API token: `user@realm!tokenid=uuid`. Source: Proxmox VE administration guide, "API Tokens". */
const TOKEN =
  /^[^\s@!=:/]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+=[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const WANTED = "want user@realm!tokenid=uuid, as Proxmox shows it once when the token is made";
const SET = `set it with: pulumi config set --secret ${TOKEN_KEY}`;

/**
 * The token of each host: from one token for all (a Proxmox cluster), or from a JSON object of host name to token (single hosts, each
 * of which makes its own). Its value never gets into a message.
 * @param text the secret as configured; undefined when it is not set.
 * @returns token by host name, one for every host.
 * @throws SettingsError
 */
export function parseTokens(text: string | undefined, hosts: readonly string[]): Map<string, string> {
  if (text === undefined || text.trim() === "") throw new SettingsError(`${TOKEN_KEY}: got nothing, ${WANTED}; ${SET}`);
  const trimmed = text.trim();
  if (!trimmed.startsWith("{")) {
    return new Map(hosts.map((host) => [host, checked(TOKEN_KEY, trimmed)] as const));
  }
  const byHost = parseObject(trimmed);
  const stranger = Object.keys(byHost).find((name) => !hosts.includes(name));
  if (stranger !== undefined) {
    throw new SettingsError(`${TOKEN_KEY}.${stranger}: there is no such host, want one of ${hosts.join(", ")}`);
  }
  return new Map(
    hosts.map((host) => {
      const token = byHost[host];
      if (token === undefined) throw new SettingsError(`${TOKEN_KEY}.${host}: got nothing, ${WANTED}; ${SET}`);
      return [host, checked(`${TOKEN_KEY}.${host}`, token)] as const;
    }),
  );
}

function parseObject(text: string): Record<string, string> {
  const wanted = `${TOKEN_KEY}: got something that is no JSON object of host name to token, ${WANTED}, or such an object; ${SET}`;
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    // Not passed on as cause: a JSON error repeats the text, and the text is secret.
    throw new SettingsError(wanted);
  }
  const parsed = z.record(z.string(), z.string()).safeParse(raw);
  if (!parsed.success) throw new SettingsError(wanted);
  return parsed.data;
}

function checked(path: string, token: string): string {
  if (TOKEN.test(token)) return token;
  throw new SettingsError(`${path}: got ${token.length} characters of another shape, ${WANTED}; ${SET}`);
}
