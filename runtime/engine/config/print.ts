import { Document, isMap, isScalar, type Node } from "yaml";
import type { Resolved } from "./sources.ts";
import { SETTINGS } from "./settings.ts";

/** A configuration as a file that says the same, each setting with where its value is from. Secrets are not in it: only that they are set. */
export function printConfig({ config, from }: Resolved): string {
  const { adminToken, upstreamKey, ...shown } = config;
  const secrets: Readonly<Record<string, string | undefined>> = { adminToken, upstreamKey };
  const document = new Document(shown);
  comment(document.contents, "", from);
  const told = SETTINGS.filter(({ secret }) => secret).map(
    ({ path }) =>
      `# ${path}: ${secrets[path] === undefined ? "not set" : `set (${from.get(path) ?? "default"}), not shown`}`,
  );
  return `${document.toString()}${told.join("\n")}\n`;
}

function comment(node: Node | null, above: string, from: Resolved["from"]): void {
  if (!isMap(node)) return;
  for (const { key, value } of node.items) {
    const path = `${above}${isScalar(key) ? String(key.value) : ""}`;
    if (isMap(value)) comment(value, `${path}.`, from);
    else if (isScalar(value)) value.comment = ` ${from.get(path) ?? "default"}`;
  }
}
