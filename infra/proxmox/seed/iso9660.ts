/**
 * Writes small ISO 9660 images with Joliet names: what cloud-init's NoCloud source reads from a CD-ROM.
 * Pure and repeatable: the same files give the same bytes, on any machine and at any time.
 */

/** Bytes of a sector. Source: ECMA-119, 6.1.2. */
export const SECTOR_BYTES = 2048;

/** Sectors before the first volume descriptor, left zero. Source: ECMA-119, 6.2.1. */
const SYSTEM_SECTORS = 16;

/** Sectors in order: three descriptors, two path tables for each of two trees, two root directories, then the files. */
const PRIMARY = SYSTEM_SECTORS;
const JOLIET = PRIMARY + 1;
const TERMINATOR = PRIMARY + 2;
const PRIMARY_PATHS_LITTLE = PRIMARY + 3;
const PRIMARY_PATHS_BIG = PRIMARY + 4;
const JOLIET_PATHS_LITTLE = PRIMARY + 5;
const JOLIET_PATHS_BIG = PRIMARY + 6;
const PRIMARY_ROOT = PRIMARY + 7;
const JOLIET_ROOT = PRIMARY + 8;
const FIRST_FILE = PRIMARY + 9;

/** The one date in an image: a fixed one, so that the same seed has the same checksum. */
const DATE = { year: 2025, month: 1, day: 1 };

/** Files of the root directory, name to content. Order does not matter. */
export type IsoFiles = Readonly<Record<string, string>>;

/**
 * The image. Names may have up to 64 characters; they appear as given (Joliet) and, for readers that know only the plain
 * tree, as `USER_DATA.;1`.
 * @throws RangeError for a label over 16 characters, a name that Joliet cannot hold, or too many files for one sector
 */
export function renderIso(label: string, files: IsoFiles): Uint8Array {
  if (!/^[A-Za-z0-9_]{1,16}$/.test(label)) throw new RangeError(`volume label: want 1 to 16 of A-Z, a-z, 0-9 and _`);
  const encoder = new TextEncoder();
  let sector = FIRST_FILE;
  const entries = Object.entries(files).map(([name, text]): Entry => {
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) {
      throw new RangeError(`file name "${name}": want 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'`);
    }
    const content = encoder.encode(text);
    const entry = { name, content, sector };
    sector += Math.ceil(content.length / SECTOR_BYTES);
    return entry;
  });

  const image = new Uint8Array(sector * SECTOR_BYTES);
  const put = (at: number, bytes: Uint8Array): void => {
    if (bytes.length > SECTOR_BYTES) throw new RangeError("too many files for a directory of one sector");
    image.set(bytes, at * SECTOR_BYTES);
  };
  put(PRIMARY, descriptor(1, label, sector));
  put(JOLIET, descriptor(2, label, sector));
  put(TERMINATOR, Uint8Array.from([255, ...ascii("CD001"), 1]));
  put(PRIMARY_PATHS_LITTLE, pathTable(PRIMARY_ROOT, "little"));
  put(PRIMARY_PATHS_BIG, pathTable(PRIMARY_ROOT, "big"));
  put(JOLIET_PATHS_LITTLE, pathTable(JOLIET_ROOT, "little"));
  put(JOLIET_PATHS_BIG, pathTable(JOLIET_ROOT, "big"));
  put(PRIMARY_ROOT, directory(PRIMARY_ROOT, entries, plainName));
  put(JOLIET_ROOT, directory(JOLIET_ROOT, entries, jolietName));
  for (const entry of entries) image.set(entry.content, entry.sector * SECTOR_BYTES);
  return image;
}

/**
 * The image as text, `<sector> <base64>` for each sector that is not all zero, its end trimmed of zeros; the last sector is
 * always named, so the length can be told. A seed of 60 KiB becomes some 6 KiB, the same on every machine (gzip's would not be).
 */
export function renderSectors(image: Uint8Array): string {
  const lines: string[] = [];
  const last = image.length / SECTOR_BYTES - 1;
  for (let sector = 0; sector <= last; sector += 1) {
    const bytes = image.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
    if (used > 0 || sector === last) {
      lines.push(`${sector} ${Buffer.from(bytes.subarray(0, Math.max(used, 1))).toString("base64")}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

interface Entry {
  name: string;
  content: Uint8Array;
  sector: number;
}

/** Primary (1) or supplementary (2) volume descriptor. Source: ECMA-119, 8.4 and 8.5; Joliet specification, 3.2 (escape `%/E`). */
function descriptor(type: 1 | 2, label: string, sectors: number): Uint8Array {
  const joliet = type === 2;
  const sector = new Uint8Array(SECTOR_BYTES);
  const text = (value: string, bytes: number): Uint8Array => (joliet ? padded16(value, bytes) : padded(value, bytes));
  const set = (offset: number, bytes: ArrayLike<number>): void => sector.set(bytes, offset);
  set(0, [type, ...ascii("CD001"), 1]);
  set(8, text("LINUX", 32));
  set(40, text(label, 32));
  set(80, both32(sectors));
  if (joliet) set(88, ascii("%/E"));
  set(120, both16(1));
  set(124, both16(1));
  set(128, both16(SECTOR_BYTES));
  set(132, both32(PATH_TABLE_BYTES));
  set(140, little32(joliet ? JOLIET_PATHS_LITTLE : PRIMARY_PATHS_LITTLE));
  set(148, big32(joliet ? JOLIET_PATHS_BIG : PRIMARY_PATHS_BIG));
  set(156, record(Uint8Array.of(0), joliet ? JOLIET_ROOT : PRIMARY_ROOT, SECTOR_BYTES, true));
  set(190, text("", 128));
  set(318, text("", 128));
  set(446, text("", 128));
  set(574, text("GORKHEAVY", 128));
  set(702, text("", 37));
  set(739, text("", 37));
  set(776, text("", 37));
  const day = `${DATE.year}${String(DATE.month).padStart(2, "0")}${String(DATE.day).padStart(2, "0")}00000000`;
  set(813, [...ascii(day), 0]);
  set(830, [...ascii(day), 0]);
  set(847, [...ascii("0".repeat(16)), 0]);
  set(864, [...ascii("0".repeat(16)), 0]);
  set(881, [1]);
  return sector;
}

/** One root record: length 1, no extended attributes, its sector, parent 1, name 0, padding. Source: ECMA-119, 9.4. */
const PATH_TABLE_BYTES = 10;
function pathTable(root: number, order: "little" | "big"): Uint8Array {
  const parent = order === "little" ? [1, 0] : [0, 1];
  return Uint8Array.from([1, 0, ...(order === "little" ? little32(root) : big32(root)), ...parent, 0, 0]);
}

/** `.`, `..` (itself: it is the root) and the files, by name. Source: ECMA-119, 6.8.1 and 9.3. */
function directory(at: number, entries: readonly Entry[], nameOf: (name: string) => Uint8Array): Uint8Array {
  const named = entries.map((entry) => ({ entry, id: nameOf(entry.name) }));
  named.sort((a, b) => Buffer.compare(a.id, b.id));
  const records = [
    record(Uint8Array.of(0), at, SECTOR_BYTES, true),
    record(Uint8Array.of(1), at, SECTOR_BYTES, true),
    ...named.map(({ entry, id }) => record(id, entry.sector, entry.content.length, false)),
  ];
  return Uint8Array.from(records.flatMap((r) => [...r]));
}

/** A directory record. Source: ECMA-119, 9.1. */
function record(id: Uint8Array, sector: number, bytes: number, isDirectory: boolean): Uint8Array {
  const length = 33 + id.length + (id.length % 2 === 0 ? 1 : 0);
  const out = new Uint8Array(length);
  out[0] = length;
  out.set(both32(sector), 2);
  out.set(both32(bytes), 10);
  out.set([DATE.year - 1900, DATE.month, DATE.day, 0, 0, 0, 0], 18);
  out[25] = isDirectory ? 2 : 0;
  out.set(both16(1), 28);
  out[32] = id.length;
  out.set(id, 33);
  return out;
}

/** `user-data` as the plain tree spells it, `USER_DATA.;1`: it knows capitals, digits and _ only. Source: ECMA-119, 7.5.1. */
function plainName(name: string): Uint8Array {
  const [base = "", ...extension] = name.toUpperCase().split(".");
  const clean = (text: string, length: number): string => text.replace(/[^A-Z0-9_]/g, "_").slice(0, length);
  return Uint8Array.from(ascii(`${clean(base, 26)}.${clean(extension.join("_"), 3)};1`));
}

function jolietName(name: string): Uint8Array {
  return padded16(name, name.length * 2);
}

function ascii(text: string): number[] {
  return [...text].map((c) => c.charCodeAt(0));
}

function padded(text: string, bytes: number): Uint8Array {
  return Uint8Array.from(ascii(text.padEnd(bytes, " ")));
}

/** UCS-2, big end first. Source: Joliet specification, 2. An odd last byte stays zero. */
function padded16(text: string, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  const view = new DataView(out.buffer);
  [...text.padEnd(Math.floor(bytes / 2), " ")].forEach((c, i) => view.setUint16(i * 2, c.charCodeAt(0)));
  return out;
}

function little32(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];
}
function big32(value: number): number[] {
  return little32(value).reverse();
}
function both32(value: number): number[] {
  return [...little32(value), ...big32(value)];
}
function both16(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 8) & 255, value & 255];
}
