import { copyFile, link, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Report } from "../tools/cache.ts";
import { go } from "../tools/go.ts";
import { packImages } from "./archive.ts";

/** Where the Go programs of the system images are kept; a module of its own beside the lab's K3s, with the same dependencies. */
const SOURCE = join(import.meta.dirname, "../tools/k3s/system");

/** The archive that {@link buildSystemImages} writes; K3s' releases call it so, too. */
export const SYSTEM_IMAGES_FILE = "k3s-airgap-images-amd64.tar";

/** One image and the program in it. */
export interface SystemImage {
  /** Full name with tag, as the manifests in tools/k3s/internal/deploy/packaged name it. */
  tag: string;
  /** Go package, or path of the module that it is fetched from. */
  source: string;
  /** Program's name in the build's output. */
  program: string;
  /** Names that the program has at the image's root. */
  installedAs: string[];
}

/** What the lab's K3s runs beside users' pods: one program an image, no shell, no libraries. */
export const SYSTEM_IMAGES: SystemImage[] = [
  { tag: "gorkheavy.lab/pause:1", source: "./pause", program: "pause", installedAs: ["pause"] },
  { tag: "gorkheavy.lab/coredns:1.13.1", source: "./coredns", program: "coredns", installedAs: ["coredns"] },
  {
    tag: "gorkheavy.lab/metrics-server:0.8.0",
    source: "sigs.k8s.io/metrics-server/cmd/metrics-server",
    program: "metrics-server",
    installedAs: ["metrics-server"],
  },
  {
    tag: "gorkheavy.lab/local-path-provisioner:0.0.30",
    source: "github.com/rancher/local-path-provisioner",
    program: "local-path-provisioner",
    installedAs: ["local-path-provisioner"],
  },
  {
    tag: "gorkheavy.lab/volume:1",
    source: "./volume",
    program: "volume",
    installedAs: ["volume-create", "volume-delete"],
  },
];

/**
 * Builds the images that the lab's K3s itself runs into `dir/k3s-airgap-images-amd64.tar`. The same sources give the same bytes.
 * Needs Go, and its module proxy unless the modules are cached.
 * @throws Error with the compiler's last lines
 */
export async function buildSystemImages(dir: string, report: Report): Promise<void> {
  const work = join(dir, ".system-images");
  await rm(work, { recursive: true, force: true });
  await mkdir(join(work, "bin"), { recursive: true });
  try {
    const flags = ["build", "-v", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", `${join(work, "bin")}/`];
    await go([...flags, ...SYSTEM_IMAGES.map(({ source }) => source)], SOURCE, report, { CGO_ENABLED: "0" });
    const packed = [];
    for (const { tag, program, installedAs } of SYSTEM_IMAGES) {
      const rootDir = join(work, program);
      await mkdir(rootDir);
      const [first = program, ...others] = installedAs;
      await copyFile(join(work, "bin", program), join(rootDir, first));
      for (const name of others) await link(join(rootDir, first), join(rootDir, name));
      packed.push({ rootDir, config: { tags: [tag], entrypoint: [`/${first}`] } });
    }
    report("packing images");
    await packImages(packed, join(dir, SYSTEM_IMAGES_FILE));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
