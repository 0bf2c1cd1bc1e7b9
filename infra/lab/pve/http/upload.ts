import { randomBytes } from "node:crypto";
import { open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { ApiError, badParameters } from "../api-error.ts";
import { MultipartScanner } from "./multipart.ts";

/** A file that a request brought, on disk. Whoever handles it moves it away; what is left is removed when the request ends. */
export interface Upload {
  /** Name that the client gave it. */
  filename: string;
  /** Where it lies now, absolute. */
  path: string;
  sizeBytes: number;
}

/** Longest value of a field beside the file, bytes. */
const MAX_FIELD_BYTES = 16 * 1024;

/**
 * Receives a multipart request: its fields, and its one file, straight to disk in `directory`.
 * @throws ApiError when the body is not multipart, has two files, ends early or does not fit on the disk
 */
export async function receiveUpload(
  request: IncomingMessage,
  directory: string,
): Promise<{ fields: Record<string, string>; upload: Upload | undefined }> {
  const boundary = /^multipart\/form-data;.*\bboundary=(?:"([^"]+)"|([^;\s]+))/i.exec(
    request.headers["content-type"] ?? "",
  );
  const scanner = boundary === null ? undefined : new MultipartScanner(boundary[1] ?? boundary[2] ?? "");
  if (scanner === undefined) throw new ApiError(400, "upload needs content type multipart/form-data with a boundary");
  const fields: Record<string, string> = {};
  let upload: Upload | undefined;
  let file: FileHandle | undefined;
  let field = "";
  let text = "";
  try {
    for await (const chunk of request) {
      for (const event of scanned(scanner, Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk)))) {
        if (event.kind === "part") {
          field = event.name;
          text = "";
          if (event.filename === undefined) continue;
          if (field !== "filename" || upload !== undefined)
            throw badParameters({ [field]: "only one file, in field 'filename', can be uploaded" });
          upload = {
            filename: event.filename,
            path: join(directory, `pveupload-${randomBytes(16).toString("hex")}`),
            sizeBytes: 0,
          };
          file = await open(upload.path, "wx", 0o600);
        } else if (event.kind === "data") {
          if (file !== undefined && upload !== undefined) {
            await file.writeFile(event.bytes);
            upload.sizeBytes += event.bytes.length;
          } else {
            text += event.bytes.toString("utf8");
            if (text.length > MAX_FIELD_BYTES)
              throw badParameters({ [field]: `value may only be ${MAX_FIELD_BYTES} characters long` });
          }
        } else if (file === undefined) fields[field] = text;
        else {
          await file.close();
          file = undefined;
        }
      }
    }
    if (!scanner.isComplete) throw new ApiError(400, "upload ended before its closing boundary");
    return { fields, upload };
  } catch (error) {
    await file?.close();
    if (upload !== undefined) await rm(upload.path, { force: true });
    throw error;
  }
}

function scanned(scanner: MultipartScanner, chunk: Buffer): ReturnType<MultipartScanner["push"]> {
  try {
    return scanner.push(chunk);
  } catch (error) {
    throw new ApiError(400, error instanceof Error ? error.message : "malformed multipart body");
  }
}
