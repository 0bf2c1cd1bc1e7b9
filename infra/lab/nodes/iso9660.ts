import { readFile } from "node:fs/promises";

/** Bytes of one logical sector. Source: ECMA-119, 6.1.2; every tool writes this size. */
const SECTOR = 2048;

/** Sector of the first volume descriptor. Source: ECMA-119, 6.2.1. */
const FIRST_DESCRIPTOR = 16;

/** More than any seed holds, and little enough that a broken image cannot fill the memory. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

interface Volume {
  label: string;
  joliet: boolean;
  root: { sector: number; bytes: number };
}

/** What is on a small CD-ROM image: its label, and the files of its root directory by name. */
export interface IsoContents {
  /** `cidata` for a cloud-init seed; upper or lower case as written. */
  label: string;
  files: Map<string, Buffer>;
}

/**
 * Reads the root directory of an ISO 9660 image, by its best names: Rock Ridge, else Joliet, else the plain ones in lower case.
 * No mount and no privilege needed. Subdirectories are left out: a seed has none.
 * @throws Error when it is no ISO 9660 image or points outside itself
 */
export function parseIso(image: Buffer): IsoContents {
  const volumes = readVolumes(image);
  const plain = volumes.find((volume) => !volume.joliet);
  if (!plain) throw new Error("not an ISO 9660 image: it has no primary volume descriptor");
  const primary = readDirectory(image, plain);
  const joliet = volumes.find((volume) => volume.joliet);
  const files = primary.rockRidge || !joliet ? primary.files : readDirectory(image, joliet).files;
  return { label: plain.label, files };
}

/** {@link parseIso} of a file. @throws Error naming the file */
export async function readIso(path: string): Promise<IsoContents> {
  try {
    return parseIso(await readFile(path));
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function readVolumes(image: Buffer): Volume[] {
  const volumes: Volume[] = [];
  for (let sector = FIRST_DESCRIPTOR; (sector + 1) * SECTOR <= image.length; sector += 1) {
    const descriptor = image.subarray(sector * SECTOR, (sector + 1) * SECTOR);
    if (descriptor.toString("latin1", 1, 6) !== "CD001" || descriptor[0] === 255) break;
    if (descriptor[0] !== 1 && descriptor[0] !== 2) continue;
    // A supplementary descriptor is Joliet when it names one of the three UCS-2 levels (Joliet specification, 3.2).
    const joliet = descriptor[0] === 2 && /^%\/[@CE]/.test(descriptor.toString("latin1", 88, 91));
    if (descriptor[0] === 2 && !joliet) continue;
    const label = descriptor.subarray(40, 72);
    volumes.push({
      label: (joliet ? utf16be(label) : label.toString("latin1")).replace(/[\0 ]+$/, ""),
      joliet,
      root: { sector: descriptor.readUInt32LE(156 + 2), bytes: descriptor.readUInt32LE(156 + 10) },
    });
  }
  return volumes;
}

function readDirectory(image: Buffer, volume: Volume): { files: Map<string, Buffer>; rockRidge: boolean } {
  const directory = slice(image, volume.root.sector, volume.root.bytes);
  const files = new Map<string, Buffer>();
  let rockRidge = false;
  for (let at = 0; at < directory.length; ) {
    const length = directory[at] ?? 0;
    // Records never cross a sector; the rest of one is padded with zeros.
    if (length === 0) {
      at = (Math.floor(at / SECTOR) + 1) * SECTOR;
      continue;
    }
    const record = directory.subarray(at, at + length);
    at += length;
    if (record.length < 34) throw new Error("damaged ISO 9660 image: a directory record is cut short");
    if (((record[25] ?? 0) & 0x02) !== 0) continue;
    const nameLength = record[32] ?? 0;
    const name = record.subarray(33, 33 + nameLength);
    const systemUse = record.subarray(33 + nameLength + (nameLength % 2 === 0 ? 1 : 0));
    const alternate = volume.joliet ? undefined : rockRidgeName(image, systemUse);
    rockRidge ||= alternate !== undefined;
    const basic = volume.joliet ? utf16be(name) : name.toString("latin1").toLowerCase();
    const chosen = alternate ?? basic.replace(/;\d+$/, "").replace(/\.$/, "");
    // A file larger than an extent comes as several records of one name, in order.
    const content = slice(image, record.readUInt32LE(2), record.readUInt32LE(10));
    const before = files.get(chosen);
    files.set(chosen, before ? Buffer.concat([before, content]) : content);
  }
  return { files, rockRidge };
}

/** The NM entries of a record's system use area, continued where a CE entry says. Source: RRIP 1.12, 4.1.4; SUSP 1.12, 5.1. */
function rockRidgeName(image: Buffer, systemUse: Buffer): string | undefined {
  let name: string | undefined;
  let area: Buffer | undefined = systemUse;
  // A continuation that leads in circles is cut off.
  for (let areas = 0; area && areas < 16; areas += 1) {
    let next: Buffer | undefined;
    for (let at = 0; at + 4 <= area.length; ) {
      const length = area[at + 2] ?? 0;
      if (length < 4 || at + length > area.length) break;
      const signature = area.toString("latin1", at, at + 2);
      if (signature === "NM" && length > 5) name = (name ?? "") + area.toString("utf8", at + 5, at + length);
      if (signature === "CE" && length >= 28) {
        const sector: Buffer = slice(image, area.readUInt32LE(at + 4), SECTOR);
        const offset = area.readUInt32LE(at + 12);
        next = sector.subarray(offset, offset + area.readUInt32LE(at + 20));
      }
      at += length;
    }
    area = next;
  }
  return name;
}

function slice(image: Buffer, sector: number, bytes: number): Buffer {
  const start = sector * SECTOR;
  if (bytes > MAX_FILE_BYTES)
    throw new Error(`a file on the ISO 9660 image has ${bytes} bytes; a seed's files have at most ${MAX_FILE_BYTES}`);
  if (start + bytes > image.length) throw new Error("damaged ISO 9660 image: it points beyond its own end");
  return image.subarray(start, start + bytes);
}

function utf16be(bytes: Buffer): string {
  return Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 2)))
    .swap16()
    .toString("utf16le");
}
