import { open } from "node:fs/promises";

/** `QFI\xfb`, the first four bytes of a QCOW2 image (QEMU, docs/interop/qcow2.txt). */
const MAGIC = 0x514649fb;
const HEADER_BYTES = 32;

/** Size of the disk that a QCOW2 image holds, bytes; undefined when the bytes are no QCOW2 header. */
export function parseQcow2VirtualSize(header: Buffer): number | undefined {
  if (header.length < HEADER_BYTES || header.readUInt32BE(0) !== MAGIC) return undefined;
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) return undefined;
  const size = Number(header.readBigUInt64BE(24));
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Reads the virtual size of the image in a file; undefined when it is no QCOW2 image. @throws when the file cannot be read */
export async function readQcow2VirtualSize(path: string): Promise<number | undefined> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return parseQcow2VirtualSize(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}
