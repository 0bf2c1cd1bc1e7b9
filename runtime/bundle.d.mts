/**
 * Bundles the runtime into one file that Node 24 runs without node_modules. @param outfile where it goes
 * @returns the npm packages that each command evaluates when it starts, by the command's source file below runtime/; what is imported
 * only when it is needed is not among them
 */
export function bundle(outfile: string): Promise<{ packagesAtStart: Record<string, string[]> }>;
