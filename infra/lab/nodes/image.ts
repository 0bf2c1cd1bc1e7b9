import { z } from "zod";

/** First four bytes of every QCOW2 file: `QFI` and 0xfb. Source: QEMU, docs/interop/qcow2.rst, "Header". */
const MAGIC = 0x514649fb;

/** Length of a version 3 header, bytes, without the optional compression type. Source: the same. */
const HEADER_BYTES = 104;

/** Type of the header extension that names the root file system, `gklb`. Readers skip extensions that they do not know. */
const EXTENSION_TYPE = 0x676b6c62;

const CLUSTER_BITS = 16;
const CLUSTER_BYTES = 1 << CLUSTER_BITS;
/** Entries of an L2 table, and so the guest clusters that one L1 entry covers. */
const L2_ENTRIES = CLUSTER_BYTES / 8;
/** 16-bit reference counts: the default, and all that version 2 knew. */
const REFCOUNT_ORDER = 4;

const Content = z.strictObject({ rootfs: z.string().regex(/^[\w.-]{1,200}$/) });

/**
 * A valid, empty QCOW2 file whose header carries the key of a root file system: the lab's stand-in for Ubuntu's cloud image.
 * Four clusters: header, reference count table and block, L1 table.
 * @param rootfs key that {@link readImage} gives back; letters, digits, `.`, `_` and `-`
 * @param virtualSizeBytes size that tools such as `qemu-img info` show. Default 3.5 GiB, as Ubuntu's own image
 * @throws Error when the size is no positive multiple of 512 or so large that its L1 table outgrows a cluster (4 TiB)
 */
export function makeImage(rootfs: string, virtualSizeBytes = 3.5 * 1024 ** 3): Buffer {
  const l1Entries = Math.ceil(virtualSizeBytes / (CLUSTER_BYTES * L2_ENTRIES));
  if (
    !Number.isInteger(virtualSizeBytes) ||
    virtualSizeBytes <= 0 ||
    virtualSizeBytes % 512 !== 0 ||
    l1Entries > L2_ENTRIES
  ) {
    throw new Error(
      `image size: got ${virtualSizeBytes} bytes, want a multiple of 512 from 512 to ${L2_ENTRIES * L2_ENTRIES * CLUSTER_BYTES}`,
    );
  }
  const data = Buffer.from(JSON.stringify(Content.parse({ rootfs })));
  const image = Buffer.alloc(4 * CLUSTER_BYTES);
  image.writeUInt32BE(MAGIC, 0);
  image.writeUInt32BE(3, 4);
  image.writeUInt32BE(CLUSTER_BITS, 20);
  image.writeBigUInt64BE(BigInt(virtualSizeBytes), 24);
  image.writeUInt32BE(l1Entries, 36);
  image.writeBigUInt64BE(BigInt(3 * CLUSTER_BYTES), 40);
  image.writeBigUInt64BE(BigInt(CLUSTER_BYTES), 48);
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(REFCOUNT_ORDER, 96);
  image.writeUInt32BE(HEADER_BYTES, 100);
  image.writeUInt32BE(EXTENSION_TYPE, HEADER_BYTES);
  image.writeUInt32BE(data.length, HEADER_BYTES + 4);
  data.copy(image, HEADER_BYTES + 8);
  // The end marker of the extensions is eight zero bytes, which are there already.
  image.writeBigUInt64BE(BigInt(2 * CLUSTER_BYTES), CLUSTER_BYTES);
  for (let cluster = 0; cluster < 4; cluster += 1) image.writeUInt16BE(1, 2 * CLUSTER_BYTES + 2 * cluster);
  return image;
}

/**
 * The root file system's key in an image made by {@link makeImage}, or in a copy of one.
 * @param head first cluster (64 KiB) of the file; more does no harm
 * @throws Error when it is no QCOW2 file, or one of somebody else's, which holds no root file system that the lab could boot
 */
export function readImage(head: Buffer): string {
  if (head.length < HEADER_BYTES + 8 || head.readUInt32BE(0) !== MAGIC) {
    throw new Error("the boot volume is no QCOW2 image; import the lab's own image into it");
  }
  const headerBytes = head.readUInt32BE(4) < 3 ? 72 : head.readUInt32BE(100);
  for (let at = headerBytes; at + 8 <= head.length; ) {
    const type = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (type === 0 || at + 8 + length > head.length) break;
    if (type === EXTENSION_TYPE) {
      const parsed = Content.safeParse(parseJson(head.toString("utf8", at + 8, at + 8 + length)));
      if (!parsed.success)
        throw new Error("the lab image's header is damaged; run `npm run lab -- down` and start again");
      return parsed.data.rootfs;
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  throw new Error(
    "the boot volume is a QCOW2 image, but not the lab's: the lab boots containers and cannot run a real disk image",
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
