import { z } from "zod";
import { tokenProblem } from "../infra/index.ts";
import { SettingsError } from "./errors.ts";

/** Where the token is in the stack's configuration. */
export const TOKEN_KEY = "gorkheavy:proxmoxApiToken";

/**
 * The token of each host: from one token for all (a Proxmox cluster, or the lab), or from a JSON object of host name to token (single
 * hosts, each of which makes its own). No message holds a character of a token.
 * @param text the secret as configured; undefined when it is not set.
 * @returns token by host name, one for every host.
 * @throws SettingsError
 */
export function parseTokens(text: string | undefined, hosts: readonly string[]): Map<string, string> {
  const trimmed = text?.trim() ?? "";
  if (!trimmed.startsWith("{")) {
    const token = checked(TOKEN_KEY, trimmed);
    return new Map(hosts.map((host) => [host, token] as const));
  }
  const byHost = parseObject(trimmed);
  const stranger = Object.keys(byHost).find((name) => !hosts.includes(name));
  if (stranger !== undefined) {
    throw new SettingsError(
      `${TOKEN_KEY}.${stranger}: there is no such host, want one of ${hosts.join(", ")}; take it out or correct it`,
    );
  }
  return new Map(hosts.map((host) => [host, checked(`${TOKEN_KEY}.${host}`, byHost[host] ?? "")] as const));
}

function parseObject(text: string): Record<string, string> {
  const wanted = `${TOKEN_KEY}: got text that starts like a JSON object and is none of host name to token (not shown); correct it with \`pulumi config set --secret ${TOKEN_KEY}\``;
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
  const problem = tokenProblem(token);
  if (problem !== undefined) throw new SettingsError(`${path}: ${problem}`);
  return token;
}
