/** Proxmox's own address block. Source: IEEE registry, BC-24-11, Proxmox Server Solutions GmbH. */
const PROXMOX_BLOCK = [0xbc, 0x24, 0x11] as const;

/**
 * The MAC address of a VM's first card, `BC:24:11:00:00:C9` for 201: the same each time, so that the seed can name the card
 * before the VM exists. Ids over 16777215 share the last 24 bits; give those their address by hand.
 * @throws RangeError for an id that does not fit
 */
export function macAddressOf(vmId: number): string {
  if (!Number.isInteger(vmId) || vmId < 0 || vmId > 0xff_ff_ff) {
    throw new RangeError(`vmId: got ${vmId}, want a whole number up to ${0xff_ff_ff} to make a MAC address of it`);
  }
  const bytes = [...PROXMOX_BLOCK, (vmId >>> 16) & 255, (vmId >>> 8) & 255, vmId & 255];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(":");
}
