import { FormatError, parseBoolean, parseProperties, renderProperties } from "./property-string.ts";

/** Card models that qemu-server accepts (`nic_model`, PVE::QemuServer). */
const MODELS: ReadonlySet<string> = new Set(
  "e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er ne2k_isa ne2k_pci pcnet rtl8139 virtio vmxnet3".split(
    " ",
  ),
);
const INTEGERS: Readonly<Record<string, readonly [number, number]>> = {
  mtu: [1, 65520],
  queues: [0, 64],
  tag: [1, 4094],
};
const FLAGS: ReadonlySet<string> = new Set(["firewall", "link_down"]);
const OTHERS: ReadonlySet<string> = new Set(["bridge", "rate", "trunks"]);
const MAC = /^[a-f0-9][02468ace](?::[a-f0-9]{2}){5}$/i;

/** One network card of a VM. */
export interface Net {
  model: string;
  /** Upper case; undefined until one is given out. */
  macAddress: string | undefined;
  /** The other settings by Proxmox' own names (`bridge`, `firewall`, `tag`, …), booleans as 1 or 0. */
  settings: ReadonlyMap<string, string>;
}

/**
 * Reads `model=virtio,bridge=vmbr0,firewall=0` or `virtio=BC:24:11:…,bridge=vmbr0`, in any order.
 * @throws FormatError that names the property, with Proxmox' words
 */
export function parseNet(text: string): Net {
  const settings = parseProperties(text, "model");
  let model = settings.get("model");
  let macAddress = settings.get("macaddr");
  settings.delete("model");
  settings.delete("macaddr");
  for (const [key, value] of [...settings]) {
    if (!MODELS.has(key)) continue;
    if (model !== undefined) throw new FormatError("model: duplicate key in comma-separated list property: model");
    model = key;
    macAddress = value;
    settings.delete(key);
  }
  if (model === undefined) throw new FormatError("format error\nmodel: property is missing and it is not optional");
  if (!MODELS.has(model)) {
    throw new FormatError(
      `format error\nmodel: value '${model}' does not have a value in the enumeration '${[...MODELS].join(", ")}'`,
    );
  }
  if (macAddress !== undefined && !MAC.test(macAddress)) {
    throw new FormatError("format error\nmacaddr: value does not look like a valid unicast MAC address");
  }
  for (const [key, value] of [...settings]) settings.set(key, checkedSetting(key, value));
  return { model, macAddress: macAddress?.toUpperCase(), settings };
}

function checkedSetting(key: string, value: string): string {
  const range = INTEGERS[key];
  if (range !== undefined) {
    const [least, most] = range;
    const number = Number(value);
    if (!/^\d+$/.test(value))
      throw new FormatError(`format error\n${key}: type check ('integer') failed - got '${value}'`);
    if (number < least) throw new FormatError(`format error\n${key}: value must have a minimum value of ${least}`);
    if (number > most) throw new FormatError(`format error\n${key}: value must have a maximum value of ${most}`);
    return String(number);
  }
  if (FLAGS.has(key)) {
    const flag = parseBoolean(value);
    if (flag === undefined)
      throw new FormatError(`format error\n${key}: type check ('boolean') failed - got '${value}'`);
    return flag ? "1" : "0";
  }
  if (key === "bridge" && !/^[-_.\w]+$/.test(value)) {
    throw new FormatError("format error\nbridge: invalid format - value does not match the regex pattern");
  }
  if (!OTHERS.has(key)) {
    throw new FormatError(
      `format error\n${key}: property is not defined in schema and the schema does not allow additional properties`,
    );
  }
  return value;
}

/** Writes a card as Proxmox answers it: `virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=0`. */
export function renderNet(net: Net): string {
  const rest = renderProperties(net.settings);
  const head = net.macAddress === undefined ? `model=${net.model}` : `${net.model}=${net.macAddress}`;
  return rest === "" ? head : `${head},${rest}`;
}
