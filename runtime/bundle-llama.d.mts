/** Bundles the process that holds one model. @param outfile where it goes; the engine looks for `llama-worker.mjs` beside its own bundle */
export function bundleLlamaWorker(outfile: string): Promise<void>;
/**
 * What the bundled worker needs beside it: place below the bundle's folder to the file that belongs there.
 * @param platform `linux-x64` or `linux-arm64` @throws Error when llama.cpp for the platform is not installed
 */
export function llamaFiles(platform: string): Promise<Map<string, string>>;
