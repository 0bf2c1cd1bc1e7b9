import { closeSync, mkdirSync, openSync, statSync, writeSync } from "node:fs";
import path from "node:path";
import ssh2 from "ssh2";
import type { SFTPWrapper } from "ssh2";

const { STATUS_CODE, flagsToString } = ssh2.utils.sftp;

/** Serves SFTP below a folder: just what an upload needs. */
export function serveSftp(sftp: SFTPWrapper, root: string): void {
  const files = new Map<number, number>();
  const below = (name: string): string => path.join(root, name);
  const handleOf = (handle: Buffer): number => files.get(handle.readUInt32BE(0)) ?? -1;
  const answer = (id: number, work: () => void): void => {
    try {
      work();
      sftp.status(id, STATUS_CODE.OK);
    } catch (error) {
      const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
      sftp.status(id, missing ? STATUS_CODE.NO_SUCH_FILE : STATUS_CODE.FAILURE);
    }
  };
  sftp.on("OPEN", (id, name, flags) => {
    const handle = Buffer.alloc(4);
    try {
      handle.writeUInt32BE(files.size, 0);
      files.set(files.size, openSync(below(name), flagsToString(flags) ?? "r"));
      sftp.handle(id, handle);
    } catch {
      sftp.status(id, STATUS_CODE.FAILURE);
    }
  });
  sftp.on("WRITE", (id, handle, offset, data) => {
    answer(id, () => void writeSync(handleOf(handle), data, 0, data.length, offset));
  });
  sftp.on("CLOSE", (id, handle) => answer(id, () => closeSync(handleOf(handle))));
  sftp.on("MKDIR", (id, name) => answer(id, () => mkdirSync(below(name))));
  sftp.on("FSETSTAT", (id) => sftp.status(id, STATUS_CODE.OK));
  sftp.on("SETSTAT", (id) => sftp.status(id, STATUS_CODE.OK));
  sftp.on("STAT", (id, name) => {
    try {
      const { mode, uid, gid, size, atimeMs, mtimeMs } = statSync(below(name));
      sftp.attrs(id, { mode, uid, gid, size, atime: Math.floor(atimeMs / 1000), mtime: Math.floor(mtimeMs / 1000) });
    } catch {
      sftp.status(id, STATUS_CODE.NO_SUCH_FILE);
    }
  });
}
