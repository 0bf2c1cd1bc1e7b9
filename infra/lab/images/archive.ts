import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";

/** What a container image runs and as whom; the subset of the OCI image config that the lab's images need. */
export interface ImageConfig {
  /** Full names with tags, `registry/repository:tag`. */
  tags: string[];
  entrypoint?: string[];
  command?: string[];
  /** `KEY=value`. */
  environment?: string[];
  /** `uid[:gid]`. Absent: root. */
  user?: string;
  workingDirectory?: string;
}

/**
 * Packs folders as one-layer images into a single `docker save` archive, which `ctr images import` reads.
 * Deterministic: the same files give the same bytes (names sorted, owner root, time 0), so that a digest can pin it.
 *
 * @param images each image's root folder and its config
 * @param archivePath file to write; appears whole or not at all
 */
export async function packImages(
  images: { rootDir: string; config: ImageConfig }[],
  archivePath: string,
): Promise<void> {
  await mkdir(dirname(archivePath), { recursive: true });
  const work = await mkdtemp(join(dirname(archivePath), ".pack-"));
  try {
    const manifest = [];
    for (const [index, image] of images.entries()) {
      const layerDir = join(work, String(index));
      await mkdir(layerDir);
      const layer = join(layerDir, "layer.tar");
      await tar(image.rootDir, layer, ["."]);
      const diffId = await sha256(layer);
      const config = JSON.stringify(renderConfig(image.config, diffId));
      const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
      await writeFile(join(work, configName), config);
      manifest.push({ Config: configName, RepoTags: image.config.tags, Layers: [`${index}/layer.tar`] });
    }
    await writeFile(join(work, "manifest.json"), JSON.stringify(manifest));
    await tar(work, `${archivePath}.partial`, ["manifest.json", ...manifest.flatMap((m) => [m.Config, ...m.Layers])]);
    await rename(`${archivePath}.partial`, archivePath);
  } finally {
    await rm(work, { recursive: true, force: true });
    await rm(`${archivePath}.partial`, { force: true });
  }
}

/** SHA-256 of a file, lower-case hex. */
export async function sha256(path: string): Promise<string> {
  if ((await stat(path)).size < 64 * 1024 * 1024)
    return createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  const { stdout } = await execa("sha256sum", [path]);
  return stdout.slice(0, 64);
}

function renderConfig(config: ImageConfig, diffId: string): object {
  return {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: {
      Entrypoint: config.entrypoint,
      Cmd: config.command,
      Env: config.environment ?? ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      User: config.user,
      WorkingDir: config.workingDirectory,
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
    history: [{ created: "1970-01-01T00:00:00Z", created_by: "gorkheavy" }],
  };
}

async function tar(from: string, to: string, names: string[]): Promise<void> {
  const stable = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];
  await execa("tar", ["-C", from, ...stable, "-cf", to, ...names]);
}
