import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The checkout's root folder, absolute. */
export const repositoryRoot = resolve(import.meta.dirname, "../../..");

/**
 * Where everything is kept that takes long to make: tools, the machines' root file system, images.
 * `$XDG_CACHE_HOME/gorkheavy`, else `~/.cache/gorkheavy`. `lab down` leaves it alone.
 */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  return join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "gorkheavy");
}

/**
 * Where one lab keeps its disks, state and sockets while it is up: `$XDG_STATE_HOME/gorkheavy/NAME`, else under
 * `~/.local/state`. `lab down` removes it.
 */
export function labStateDir(lab: string, env: NodeJS.ProcessEnv = process.env): string {
  return join(env["XDG_STATE_HOME"] || join(homedir(), ".local", "state"), "gorkheavy", lab);
}
