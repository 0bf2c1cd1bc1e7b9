/** A volume: the datastore it lies on and its name there. */
export interface VolumeId {
  storage: string;
  /** `vm-100-disk-0` (block storages), `100/vm-100-disk-0.qcow2` (folders), `iso/x.iso`, `import/x.qcow2`. */
  name: string;
}

/** Reads `local-lvm:vm-100-disk-0`; undefined when the text has no datastore or no name (PVE::Storage, parse_volume_id). */
export function parseVolumeId(text: string): VolumeId | undefined {
  const match = /^([a-z][a-z0-9\-_.]*[a-z0-9]):(.+)$/i.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { storage: match[1], name: match[2] };
}

/** `<storage>:<name>`. */
export function renderVolumeId(volume: VolumeId): string {
  return `${volume.storage}:${volume.name}`;
}

/** Id of the VM that a disk's name says it belongs to; undefined for images, ISO files and names of no VM. */
export function ownerOf(volumeName: string): number | undefined {
  const last = volumeName.split("/").at(-1) ?? "";
  const match = /^(?:vm|base)-(\d+)-/.exec(last);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}
