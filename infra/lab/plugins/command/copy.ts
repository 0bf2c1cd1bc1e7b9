import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import type { SFTPWrapper } from "ssh2";
import type { AssetValue, Log } from "../provider.ts";
import { connect } from "./connection.ts";
import type { Connection } from "./connection.ts";

/** SFTP's own status for a path that does not exist. Source: draft-ietf-secsh-filexfer-02, section 7. */
const NO_SUCH_FILE = 2;

/**
 * Copies an asset to a remote machine by SFTP, as CopyToRemote of @pulumi/command 1.2.1 does: missing parents are made;
 * `dir` goes into the target, `dir/` is the target; a file goes into an existing directory.
 */
export async function copyToRemote(call: {
  connection: Connection;
  source: AssetValue;
  remotePath: string;
  signal: AbortSignal;
  log: Log;
}): Promise<void> {
  const host = await connect(call.connection, call.signal, (text) => call.log("info", text, { ephemeral: true }));
  const abort = (): void => host.close();
  call.signal.addEventListener("abort", abort, { once: true });
  try {
    const sftp = await new Promise<SFTPWrapper>((resolve, reject) => {
      host.client.sftp((error, opened) => (error === undefined ? resolve(opened) : reject(error)));
    });
    await makeDirectory(sftp, path.posix.dirname(call.remotePath));
    if (call.source.text !== undefined) {
      if ((await kindOf(sftp, call.remotePath)) === "directory") {
        throw new Error(
          `remote path ${call.remotePath} is a directory; when using a text asset, remotePath must be a file path`,
        );
      }
      await writeText(sftp, call.source.text, call.remotePath);
    } else if (call.source.path !== undefined) {
      await copyPath(sftp, call.source.path, call.remotePath);
    } else {
      throw new Error("source: give a file asset, a string asset or a file archive");
    }
  } finally {
    call.signal.removeEventListener("abort", abort);
    host.close();
  }
}

async function copyPath(sftp: SFTPWrapper, source: string, target: string): Promise<void> {
  const targetKind = await kindOf(sftp, target);
  if (!(await stat(source)).isDirectory()) {
    await copyFile(sftp, source, targetKind === "directory" ? path.posix.join(target, path.basename(source)) : target);
    return;
  }
  if (targetKind === "file") throw new Error(`remote path ${target} exists but is not a directory`);
  const inside = source.endsWith("/") ? target : path.posix.join(target, path.basename(source));
  await copyDirectory(sftp, source, inside);
}

async function copyDirectory(sftp: SFTPWrapper, source: string, target: string): Promise<void> {
  await makeDirectory(sftp, target);
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const from = path.join(source, entry.name);
    const to = path.posix.join(target, entry.name);
    if (entry.isDirectory()) await copyDirectory(sftp, from, to);
    else await copyFile(sftp, from, to);
  }
}

async function makeDirectory(sftp: SFTPWrapper, target: string): Promise<void> {
  const kind = await kindOf(sftp, target);
  if (kind === "file") throw new Error(`remote path ${target} exists but is not a directory`);
  if (kind === "directory") return;
  await makeDirectory(sftp, path.posix.dirname(target));
  await settle(`failed to create remote directory ${target}`, (done) => sftp.mkdir(target, done));
}

async function kindOf(sftp: SFTPWrapper, target: string): Promise<"directory" | "file" | "absent"> {
  return new Promise((resolve, reject) => {
    sftp.stat(target, (error, stats) => {
      if (error === undefined) resolve(stats.isDirectory() ? "directory" : "file");
      else if ("code" in error && error.code === NO_SUCH_FILE) resolve("absent");
      else reject(new Error(`failed to stat remote path ${target}: ${error.message}`, { cause: error }));
    });
  });
}

async function copyFile(sftp: SFTPWrapper, source: string, target: string): Promise<void> {
  await settle(`failed to copy file ${source} to remote path ${target}`, (done) => sftp.fastPut(source, target, done));
}

async function writeText(sftp: SFTPWrapper, content: string, target: string): Promise<void> {
  await settle(`failed to write text content to remote path ${target}`, (done) =>
    sftp.writeFile(target, content, done),
  );
}

function settle(what: string, start: (done: (error: Error | null | undefined) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => {
      if (error === null || error === undefined) resolve();
      else reject(new Error(`${what}: ${error.message}`, { cause: error }));
    });
  });
}
