import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { z } from "zod";

/** The SDKs that the stacks use, each with the folder of its stand-in. */
const STAND_INS = [
  { sdk: "@pulumi/command", folder: "command" },
  { sdk: "@muhlba91/pulumi-proxmoxve", folder: "proxmoxve" },
  { sdk: "@pulumi/kubernetes", folder: "kubernetes" },
] as const;

const sdkPackage = z.object({
  version: z.string(),
  pulumi: z.object({ name: z.string(), version: z.string().optional() }),
});

/** One plugin that was put into the engine's plugin folder. */
export interface InstalledPlugin {
  name: string;
  /** The version that the SDK asks for. */
  version: string;
  /** What the engine starts. */
  executable: string;
}

/**
 * Puts the stand-ins into `pulumiHome`, under the versions that the installed SDKs ask for, so that the engine finds
 * them and downloads nothing. Each is a wrapper script that starts `nodePath` with the plugin's source. Running it again
 * changes nothing; a plugin that was half installed is made anew.
 */
export async function installPlugins(pulumiHome: string, nodePath: string): Promise<InstalledPlugin[]> {
  const installed: InstalledPlugin[] = [];
  for (const { sdk, folder } of STAND_INS) {
    const { name, version } = await readSdk(sdk);
    const target = path.join(pulumiHome, "plugins", `resource-${name}-v${version}`);
    const executable = path.join(target, `pulumi-resource-${name}`);
    const entry = path.join(import.meta.dirname, folder, "main.ts");
    // The engine takes `<folder>.partial` for a download that was cut off (sdk/go/common/workspace/plugins.go, v3.250.0).
    await rm(`${target}.partial`, { force: true });
    await mkdir(target, { recursive: true });
    // No PulumiPlugin.yaml: with one the engine would look for a language host instead of the executable.
    await writeFile(executable, wrapper(nodePath, entry));
    await chmod(executable, 0o755);
    installed.push({ name, version, executable });
  }
  return installed;
}

/** `exec` keeps the engine as the parent, which is how the plugin notices that it has gone. */
function wrapper(nodePath: string, entry: string): string {
  return `#!/bin/sh\nexec ${quote(nodePath)} --disable-warning=ExperimentalWarning ${quote(entry)} "$@"\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function readSdk(sdk: string): Promise<{ name: string; version: string }> {
  const resolve = createRequire(import.meta.url).resolve;
  const file = resolve(`${sdk}/package.json`);
  const parsed = sdkPackage.parse(JSON.parse(await readFile(file, "utf8")));
  return { name: parsed.pulumi.name, version: (parsed.pulumi.version ?? parsed.version).replace(/^v/, "") };
}
