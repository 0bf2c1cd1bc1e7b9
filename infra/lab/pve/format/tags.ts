import { FormatError } from "./property-string.ts";

/** One tag, as the `pve-tag` format allows it (PVE::JSONSchema). */
const TAG = /^[a-z0-9_][a-z0-9_\-+.]*$/i;

/**
 * Reads a tag list as a VM stores it: lower case, each once, sorted. Separators are commas, semicolons and blanks.
 * @throws FormatError on a text that is no tag
 */
export function parseTags(text: string): string[] {
  const tags = text.split(/[,;\s\0]+/).filter((tag) => tag !== "");
  for (const tag of tags) {
    if (!TAG.test(tag)) throw new FormatError(`value does not look like a valid tag`);
  }
  return [...new Set(tags.map((tag) => tag.toLowerCase()))].sort();
}

/** Joins tags with `;`, as Proxmox answers them. */
export function renderTags(tags: readonly string[]): string {
  return tags.join(";");
}
