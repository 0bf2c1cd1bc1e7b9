import { createHash } from "node:crypto";

/** A VM's configuration as its file holds it: live values, and what waits for the next cold start. */
export interface VmConfig {
  /** Option to value, as text, by Proxmox' own names. `description` may have several lines; no other value has. */
  values: Record<string, string>;
  /** Values that are wanted but not in force while the VM runs. */
  pending: Record<string, string>;
  /** Options that go away at the next cold start. */
  pendingDelete: string[];
}

/** A configuration with nothing in it. */
export function emptyVmConfig(): VmConfig {
  return { values: {}, pending: {}, pendingDelete: [] };
}

/** Reads the text of `<id>.conf`: `key: value` lines, `#` lines for the description, then a `[PENDING]` section. Unknown lines are skipped. */
export function parseVmConfig(text: string): VmConfig {
  const config = emptyVmConfig();
  const description: string[] = [];
  let section: "values" | "pending" | undefined = "values";
  for (const line of text.split("\n")) {
    if (line.startsWith("#") && section === "values") {
      description.push(decodeComment(line.slice(1)));
      continue;
    }
    const heading = /^\[(.*)\]\s*$/.exec(line);
    if (heading !== null) {
      // Other sections are snapshots, which this server does not make.
      section = heading[1] === "PENDING" ? "pending" : undefined;
      continue;
    }
    const entry = /^([a-z][a-z0-9_-]*):\s*(.*)$/i.exec(line);
    if (entry?.[1] === undefined || entry[2] === undefined || section === undefined) continue;
    if (section === "pending" && entry[1] === "delete")
      config.pendingDelete = entry[2].split(",").filter((key) => key !== "");
    else
      config[section][entry[1]] =
        section === "pending" && entry[1] === "description" ? decodeComment(entry[2]) : entry[2];
  }
  if (description.length > 0) config.values["description"] = description.join("\n");
  return config;
}

/** Writes `<id>.conf`, keys sorted, so that equal configurations have equal text. */
export function renderVmConfig(config: VmConfig): string {
  const lines: string[] = [];
  const { description, ...values } = config.values;
  if (description !== undefined) lines.push(...description.split("\n").map((line) => `#${encodeComment(line)}`));
  for (const key of Object.keys(values).sort()) lines.push(`${key}: ${values[key] ?? ""}`);
  const pending = Object.keys(config.pending).sort();
  if (pending.length > 0 || config.pendingDelete.length > 0) {
    lines.push("", "[PENDING]");
    if (config.pendingDelete.length > 0) lines.push(`delete: ${[...config.pendingDelete].sort().join(",")}`);
    for (const key of pending) {
      const value = config.pending[key] ?? "";
      lines.push(`${key}: ${key === "description" ? encodeComment(value) : value}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The `digest` that clients may send back to guard against a change in between: SHA-1 of the file's text. */
export function digestOf(config: VmConfig): string {
  return createHash("sha1").update(renderVmConfig(config)).digest("hex");
}

/** Values as they will be after the next cold start: pending ones over the live ones, deleted ones gone. */
export function withPending(config: VmConfig): Record<string, string> {
  const merged = { ...config.values, ...config.pending };
  for (const key of config.pendingDelete) delete merged[key];
  return merged;
}

// PVE::Tools encode_text: percent-encoding of control characters, `%` and `:`, so that a line stays a line.
function encodeComment(text: string): string {
  return text.replace(
    /[\x00-\x1f%:\x7f]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

function decodeComment(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}
