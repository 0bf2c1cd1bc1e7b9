import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildRootfs, hostRelease, rootfsKey } from "../nodes/rootfs.ts";
import { makeImage } from "../nodes/image.ts";
import { buildRuntimeImage, runtimeImageName } from "../images/runtime.ts";
import { labWeights, WEIGHTS_DIR } from "../models/weights.ts";
import { K3S_VERSION } from "../tools/k3s.ts";
import { type ResolvedK3s, resolveK3s } from "../tools/k3s-release.ts";
import { cached } from "../tools/cache.ts";
import { sha256 } from "../images/archive.ts";
import { resolvePulumi } from "../tools/pulumi.ts";
import type { Resolved } from "../tools/resolve.ts";
import { GATEWAY_ADDRESS, RELEASE_PORT } from "../datacentre/config.ts";
import { step, type Terminal } from "./terminal.ts";

/** Everything that the lab needs and that takes long to make, made or found. */
export interface Material {
  pulumi: Resolved;
  k3s: ResolvedK3s;
  /** URL path to file, for the release server. */
  files: Record<string, string>;
  /** Root file systems by key. */
  rootfs: Record<string, string>;
  /** Whether any of it had to be made, downloaded or built by this call. */
  made: boolean;
  /** Full name of the runtime image. */
  runtimeImage: string;
  /** What the stack's settings cannot know before: addresses and digests of what the release server hands out. */
  overrides: Record<string, unknown>;
}

const IMAGE_FILE = "lab-cloud-image.qcow2";
const PATHS = {
  image: `/image/${IMAGE_FILE}`,
  k3s: `/k3s/${K3S_VERSION}/k3s`,
  checksums: `/k3s/${K3S_VERSION}/sha256sum-amd64.txt`,
  runtime: "/images/runtime.tar",
  system: "/images/k3s-airgap-images-amd64.tar",
} as const;

/** Finds or makes the tools, the machines' root file system and the images; several at once, each with its progress. */
export async function gatherMaterial(to: Terminal): Promise<Material> {
  const rootfsVersion = rootfsKey(await hostRelease());
  const runtimeImage = await runtimeImageName();
  const imageVersion = runtimeImage.split(":").at(-1) ?? "";
  const [pulumi, k3s, rootfs, runtime] = await Promise.all([
    step("pulumi", to, (report) => resolvePulumi(report)),
    step("k3s", to, (report) => resolveK3s(report)),
    step("root file system", to, (report) =>
      cached("rootfs", rootfsVersion, (dir, say) => buildRootfs(dir, say), { report }),
    ),
    step("runtime image", to, () =>
      cached("runtime-image", imageVersion, (dir) => buildRuntimeImage(runtimeImage, dir)),
    ),
  ]);
  for (const tool of [pulumi, k3s]) to.say(`${tool.name} ${tool.version}: ${tool.source}`);
  const cloudImage = await cached("cloud-image", rootfsVersion, (dir) =>
    writeFile(join(dir, IMAGE_FILE), makeImage(rootfsVersion)),
  );
  const files = {
    [PATHS.image]: join(cloudImage.dir, IMAGE_FILE),
    [PATHS.k3s]: k3s.path,
    [PATHS.checksums]: k3s.checksums,
    [PATHS.runtime]: join(runtime.dir, "runtime.tar"),
    [PATHS.system]: k3s.systemImages,
    ...Object.fromEntries((await labWeights()).map(({ file }) => [`/models/${file}`, join(WEIGHTS_DIR, file)])),
  };
  return {
    pulumi,
    k3s,
    files,
    rootfs: { [rootfsVersion]: join(rootfs.dir, "rootfs") },
    made: [pulumi, k3s].some((tool) => tool.source === "built" || tool.source === "release") || rootfs.made,
    runtimeImage,
    overrides: await settingOverrides(files, runtimeImage),
  };
}

/** What the lab sets beside the committed settings: addresses and digests of what its release server hands out. */
export async function settingOverrides(
  files: Readonly<Record<string, string>>,
  runtimeImage: string,
): Promise<Record<string, unknown>> {
  const origin = `http://${GATEWAY_ADDRESS}:${RELEASE_PORT}`;
  const digestOf = async (path: string) => {
    const file = files[path];
    if (file === undefined) throw new Error(`release server: has no ${path}`);
    return sha256(file);
  };
  const airgapImages = await Promise.all(
    [PATHS.runtime, PATHS.system].map(async (path) => ({ url: `${origin}${path}`, sha256: await digestOf(path) })),
  );
  return {
    "image.url": `${origin}${PATHS.image}`,
    "image.fileName": IMAGE_FILE,
    "image.sha256": await digestOf(PATHS.image),
    "k3s.releaseUrl": `${origin}/k3s`,
    "k3s.version": K3S_VERSION,
    "k3s.sha256": await digestOf(PATHS.k3s),
    "k3s.airgapImages": airgapImages,
    "ensemble.image": runtimeImage,
  };
}
