/** Bundles the runtime into one file that Node 24 runs without node_modules. @param outfile where it goes */
export function bundle(outfile: string): Promise<void>;
