/** The lab's Proxmox VE API: one node from a folder, over whatever runs the machines. */
export { createPve } from "./pve.ts";
export type { Pve, PveOptions } from "./pve.ts";
export { issueLabCertificates } from "./certificates.ts";
export type { CertificateHost, LabCertificates, PemPair } from "./certificates.ts";
export { runPve } from "./cli.ts";
export type { RunPveOptions } from "./cli.ts";
export { parseApiToken } from "./token.ts";
export type { Bridge } from "./lab.ts";
export type { ContentType, DatastoreSettings } from "./storage/datastore.ts";
export type { GuestInterface, MachineDriver, MachineLog, MachineSpec, MachineState } from "./machines.ts";
