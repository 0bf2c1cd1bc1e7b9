import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import type { EngineConfig } from "../../contracts/engine-config.ts";
import type { Logger } from "../../support/log.ts";
import { type Setting, SETTINGS } from "./settings.ts";
import { type Resolved, resolveConfig, type Sources } from "./sources.ts";

/** Quiet time after a change before it is read, ms: an editor and a kubelet write in several steps. */
const QUIET_MS = 200;

/** How often the sources are read again though nothing was heard, ms; network file systems tell of no change. */
const LOOK_MS = 30_000;

/** Keeps a running engine in line with its configuration. What cannot change while it runs, and what is wrong, keeps its old value and is logged. */
export class LiveConfig {
  readonly #sources: Sources;
  readonly #apply: (config: EngineConfig) => Promise<void> | void;
  readonly #log: Logger;
  readonly #watchers: FSWatcher[] = [];
  #current: EngineConfig;
  #quiet: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #turn: Promise<void> = Promise.resolve();
  #told = "";

  constructor(sources: Sources, first: Resolved, apply: (config: EngineConfig) => Promise<void> | void, log: Logger) {
    this.#sources = sources;
    this.#current = first.config;
    this.#apply = apply;
    this.#log = log;
  }

  /** Watches the file and the Secret's folder. A ConfigMap is changed by turning a link in its folder, so folders are watched. */
  watch(): void {
    const { file, secrets } = this.#sources;
    const folders = new Set([
      ...(file === undefined ? [] : [dirname(file)]),
      ...(secrets === undefined ? [] : [secrets]),
    ]);
    if (folders.size === 0) return;
    const heard = (): void => {
      clearTimeout(this.#quiet);
      this.#quiet = setTimeout(() => void this.reload(), QUIET_MS);
    };
    for (const folder of folders) {
      const watcher = watch(folder, heard);
      watcher.on("error", (error) => this.#log.warn({ folder, err: error }, "changes here are only seen every 30 s"));
      this.#watchers.push(watcher);
    }
    this.#looking = setInterval(() => void this.reload(), LOOK_MS).unref();
  }

  /** Reads all sources again and takes over what may change. Never throws. @param asked somebody did: models' files are looked at again, too */
  reload(asked = false): Promise<void> {
    this.#turn = this.#turn.then(() => this.#read(asked));
    return this.#turn;
  }

  close(): void {
    clearTimeout(this.#quiet);
    clearInterval(this.#looking);
    for (const watcher of this.#watchers) watcher.close();
  }

  async #read(asked: boolean): Promise<void> {
    let next: EngineConfig;
    try {
      next = (await resolveConfig(this.#sources)).config;
    } catch (error) {
      const reason = error instanceof Error ? error.message : "unreadable";
      this.#tell(reason, () => this.#log.error({ reason }, "configuration is wrong, the old one is kept"));
      return;
    }
    const changed = SETTINGS.filter(({ path }) => textAt(next, path) !== textAt(this.#current, path));
    const fixed = changed.filter(({ live }) => !live);
    this.#tell(JSON.stringify(fixed.map(({ path }) => [path, textAt(next, path)])), () => {
      for (const one of fixed) {
        this.#log.warn(
          { setting: one.path, kept: shown(one, this.#current), wanted: shown(one, next) },
          "this setting takes a restart, its old value is kept",
        );
      }
    });
    const live = changed.filter((one) => one.live);
    if (live.length === 0 && !asked) return;
    const config = structuredClone(next);
    for (const { path } of fixed) setAt(config, path, valueAt(this.#current, path));
    this.#current = config;
    try {
      await this.#apply(config);
      this.#log.info({ settings: live.map(({ path }) => path) }, "configuration taken over");
    } catch (error) {
      this.#log.error({ err: error }, "configuration could not be taken over whole");
    }
  }

  /** Says the same thing once. */
  #tell(what: string, tell: () => void): void {
    if (what === this.#told) return;
    this.#told = what;
    tell();
  }
}

function valueAt(config: EngineConfig, path: string): unknown {
  return path.split(".").reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], config);
}

function textAt(config: EngineConfig, path: string): string | undefined {
  return JSON.stringify(valueAt(config, path));
}

function setAt(config: EngineConfig, path: string, value: unknown): void {
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const at = keys.reduce<unknown>((tree, key) => (tree as Record<string, unknown>)[key], config);
  (at as Record<string, unknown>)[last] = value;
}

function shown(setting: Setting, config: EngineConfig): string {
  return setting.secret === true ? "not shown" : (textAt(config, setting.path) ?? "not set");
}
