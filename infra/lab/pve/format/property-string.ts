/** A text does not have the form that its schema asks for; becomes `invalid format - …` of one parameter. */
export class FormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "FormatError";
  }
}

/**
 * Splits `a=1,b=2` into its parts (PVE::JSONSchema, parse_property_string). A part without `=` is the value of `defaultKey`.
 * Empty parts from stray commas are skipped: the provider sends `file=local-lvm:cloudinit,`.
 * @throws FormatError when a key comes twice, or a bare part comes twice or where no default key exists
 */
export function parseProperties(text: string, defaultKey?: string): Map<string, string> {
  const properties = new Map<string, string>();
  for (const part of text.split(",")) {
    if (part.trim() === "") continue;
    const equals = part.indexOf("=");
    const key = equals < 0 ? defaultKey : part.slice(0, equals);
    if (key === undefined || key === "")
      throw new FormatError(`value without key, but schema does not define a default key`);
    if (properties.has(key)) throw new FormatError(`duplicate key in comma-separated list property: ${key}`);
    properties.set(key, equals < 0 ? part : part.slice(equals + 1));
  }
  return properties;
}

/**
 * Joins parts as Proxmox prints them (print_property_string): the default key's value first and bare, the others sorted by key.
 * Reading the result back gives the same parts as long as no value holds a comma.
 */
export function renderProperties(properties: ReadonlyMap<string, string>, defaultKey?: string): string {
  const parts: string[] = [];
  const first = defaultKey === undefined ? undefined : properties.get(defaultKey);
  if (first !== undefined) parts.push(first);
  for (const key of [...properties.keys()].sort()) {
    if (key !== defaultKey) parts.push(`${key}=${properties.get(key) ?? ""}`);
  }
  return parts.join(",");
}

/** Proxmox' spellings of a boolean (PVE::JSONSchema, parse_boolean), or undefined for any other text. */
export function parseBoolean(text: string): boolean | undefined {
  if (/^(1|on|yes|true)$/i.test(text)) return true;
  if (/^(0|off|no|false)$/i.test(text)) return false;
  return undefined;
}
