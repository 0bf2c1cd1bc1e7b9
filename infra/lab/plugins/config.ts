import type { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import { Secret, Unknown } from "./provider.ts";
import type { Properties, ProviderPlugin, Value } from "./provider.ts";
import { plainOf } from "./values.ts";
import { decodeProperties, encodeProperties } from "./wire.ts";

/** What the engine adds to every provider's settings; no plugin asked for it. */
const ENGINE_KEYS = new Set(["version", "pluginDownloadURL", "pluginChecksums", "__internal"]);

/**
 * Provider settings as values: SDKs send every setting that is no string as JSON text (`insecure: "true"`), so the
 * plugin's `jsonConfigKeys` are parsed. @throws Error naming the setting whose JSON is malformed, without its value.
 */
export function decodeConfig(plugin: ProviderPlugin, struct: Struct | undefined): Properties {
  const result: Properties = {};
  for (const [key, value] of Object.entries(decodeProperties(struct))) {
    if (ENGINE_KEYS.has(key)) continue;
    result[key] = plugin.jsonConfigKeys?.includes(key) === true ? parseSetting(plugin.name, key, value) : value;
  }
  return result;
}

function parseSetting(pluginName: string, key: string, value: Value): Value {
  if (value instanceof Secret) return new Secret(parseSetting(pluginName, key, value.value));
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value, reviveWrapped) as Value;
  } catch {
    throw new Error(`${pluginName}:${key}: got text that is no JSON; give a value of the setting's own type`);
  }
}

/** Nested secrets come inside the JSON text, in the wire's own marking: `{"4dab…": "1b47…", "value": …}`. */
function reviveWrapped(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("4dabf18193072939515e22adb298388d" in value)) return value;
  return "value" in value ? new Secret(value.value as Value) : value;
}

/** Settings back on the wire, JSON text where it came as text. `original` brings along what the plugin never saw. */
export function encodeConfig(plugin: ProviderPlugin, settings: Properties, original: Struct | undefined): Struct {
  const result: Properties = {};
  for (const [key, value] of Object.entries(decodeProperties(original))) {
    if (ENGINE_KEYS.has(key)) result[key] = value;
  }
  for (const [key, value] of Object.entries(settings)) {
    const inner = value instanceof Secret ? value.value : value;
    const asText = plugin.jsonConfigKeys?.includes(key) === true && !(inner instanceof Unknown);
    const encoded = asText ? JSON.stringify(plainOf(inner)) : inner;
    result[key] = value instanceof Secret ? new Secret(encoded) : encoded;
  }
  return encodeProperties(result);
}
