const UNITS = ["", "K", "M", "G", "T"] as const;

/** Bytes as Proxmox prints a disk size: the largest of K, M, G, T that divides it exactly, else plain bytes (PVE::JSONSchema, format_size). */
export function renderSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value !== 0 && value % 1024 === 0 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value}${UNITS[unit] ?? ""}`;
}

/** Reads `34359738368`, `32G` or `0.5T` (powers of 1024) as whole bytes, rounded down; undefined for any other text. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([KMGT])?$/.exec(text);
  if (match === null) return undefined;
  const power = UNITS.findIndex((unit) => unit === (match[2] ?? ""));
  const bytes = Math.floor(Number(match[1]) * 1024 ** power);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
