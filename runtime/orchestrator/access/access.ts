import { Counter, Gauge, type Registry } from "prom-client";
import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import type { Logger } from "../../support/log.ts";
import type { SharedRedis } from "../redis.ts";
import { AccessGate, REFUSALS, type Refusal } from "./access-gate.ts";
import { Whereabouts } from "./address.ts";
import { Keyring } from "./keyring.ts";
import { KeysWatch } from "./keys-watch.ts";
import { MemoryMeter } from "./meter.ts";
import { RedisMeter } from "./redis-meter.ts";

/** Accounts of keys and addresses kept in this process; some 150 bytes each. */
const MOST_ACCOUNTS = 65_536;
/** Addresses whose wrong keys are counted. */
const MOST_FAILURES = 16_384;

/** Who may ask, as the configuration says. */
export interface Access {
  gate: AccessGate;
  keyring: Keyring;
  /** Looks after the keys no more. */
  close(): void;
}

/** What access is made from. */
export interface AccessOptions {
  config: EnsembleConfig;
  log: Pick<Logger, "info" | "warn" | "error">;
  redis?: SharedRedis | undefined;
  /** Where refusals and keys are counted. */
  metrics: Registry;
  /** How often the keys file and the keys of answers in work are looked at, ms. @default 2000 */
  everyMs?: number;
}

/** Makes the gate of a configuration and keeps its keys as their file says. @throws KeysFileError */
export async function openAccess({ config, log, redis, metrics, everyMs }: AccessOptions): Promise<Access> {
  const keyring = new Keyring();
  const refused = countRefusals(metrics);
  const own = new MemoryMeter(MOST_ACCOUNTS);
  const gate = new AccessGate({
    config: config.access,
    origins: config.horn.origins,
    keyring,
    whereabouts: new Whereabouts(config.access.trustedProxies),
    meter: redis === undefined ? own : new RedisMeter(redis, own),
    failures: new MemoryMeter(MOST_FAILURES),
    refused,
  });
  const { keysFile, anonymous } = config.access;
  const watch = keysFile === undefined ? undefined : new KeysWatch(keysFile, keyring, log, () => gate.recheck());
  await watch?.start(everyMs);
  showKeys(metrics, keyring, () => watch?.broken ?? false);
  void redis?.warm();
  if (keysFile === undefined && anonymous === "nobody")
    log.warn("nobody may ask: access.anonymous is nobody and there is no access.keysFile");
  if (redis === undefined && keysFile !== undefined)
    log.info(
      { keys: keyring.size },
      "limits are counted by this process alone; set redis to share them with other replicas",
    );
  return { gate, keyring, close: () => watch?.close() };
}

/** Counts refusals by their reason. */
function countRefusals(registry: Registry): (why: Refusal) => void {
  const refusals = new Counter({
    name: "gorkheavy_access_refusals_total",
    help: "Requests that were not let in, by reason",
    labelNames: ["reason"],
    registers: [registry],
  });
  for (const reason of REFUSALS) refusals.inc({ reason }, 0);
  return (reason) => refusals.inc({ reason });
}

/** Shows how many keys there are and whether their file is well. */
function showKeys(registry: Registry, keyring: Keyring, broken: () => boolean): void {
  const registers = [registry];
  new Gauge({
    name: "gorkheavy_access_keys",
    help: "Keys of the keys file, those taken back included",
    registers,
    collect() {
      this.set(keyring.size);
    },
  });
  new Gauge({
    name: "gorkheavy_access_keys_file_broken",
    help: "1 while the keys file cannot be used and the keys are those of before",
    registers,
    collect() {
      this.set(broken() ? 1 : 0);
    },
  });
}
