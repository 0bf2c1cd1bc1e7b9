import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { Secret, UNKNOWN } from "../provider.ts";
import type { CheckFailure, Properties, Value } from "../provider.ts";
import { checkShape, flag, integer, object, oneOf, text } from "../shape.ts";
import { containsSecret, containsUnknown, diffProperties, markReplaces, plainOf, rootOfPath } from "../values.ts";
import type { PveClient } from "./client.ts";
import { awaitVolume, deleteVolume, listVolumes } from "./content.ts";
import type { Resource } from "./resource.ts";
import { runTask } from "./task.ts";

/** Content types that the API takes by itself; others (snippets, backups) need SSH to the host, which a lab's host has not. */
const UPLOADS = ["iso", "import", "vztmpl"];

const shape = object(
  {
    contentType: oneOf(...UPLOADS),
    datastoreId: text,
    fileMode: text,
    nodeName: text,
    overwrite: flag,
    sourceFile: object({ changed: flag, checksum: text, fileName: text, insecure: flag, minTls: text, path: text }, [
      "path",
    ]),
    sourceRaw: object({ data: text, fileName: text, resize: integer(0) }, ["data", "fileName"]),
    timeoutUpload: integer(1),
    uploadMode: oneOf("stream", "sftp"),
  },
  ["datastoreId", "nodeName"],
);

const modelSchema = z.object({
  contentType: z.string().optional(),
  datastoreId: z.string(),
  nodeName: z.string(),
  overwrite: z.boolean().default(true),
  sourceFile: z
    .object({ path: z.string(), fileName: z.string().default(""), checksum: z.string().default("") })
    .optional(),
  sourceRaw: z.object({ data: z.string(), fileName: z.string(), resize: z.number().default(0) }).optional(),
  /** Seconds. */
  timeoutUpload: z.number().default(1800),
});
type FileModel = z.output<typeof modelSchema>;

const IN_PLACE = new Set(["overwrite", "timeoutUpload", "uploadMode"]);

/** `proxmoxve:index/fileLegacy:FileLegacy`: a file of this machine in a host's storage, by the API's upload. */
export const fileResource: Resource = {
  async check({ news }) {
    const failures: CheckFailure[] = checkShape(news, shape);
    const has = (key: string): boolean => (news[key] ?? null) !== null;
    if (has("sourceFile") === has("sourceRaw")) {
      failures.push({ property: "sourceFile", reason: "give sourceFile or sourceRaw, and not both" });
    }
    return { inputs: Object.fromEntries(Object.entries(news).filter(([, value]) => value !== null)), failures };
  },

  async diff({ olds, oldInputs, news, ignoreChanges }) {
    const diffs = diffProperties(oldInputs, news);
    // A refresh that did not find the local file says so here; the provider then wants to upload it again.
    const lost = field(olds["sourceFile"], "changed") === true && field(news["sourceFile"], "changed") !== true;
    if (lost && !ignoreChanges.includes("sourceFile.changed")) diffs["sourceFile.changed"] = "update";
    const replaces = (at: string): boolean => !IN_PLACE.has(rootOfPath(at));
    const roots = [...new Set(Object.keys(diffs).map(rootOfPath))];
    return {
      changes: roots.length > 0,
      replaces: roots.filter(replaces),
      detailed: markReplaces(diffs, replaces),
    };
  },

  async create(call, client) {
    if (call.preview) {
      const known = containsUnknown(call.inputs) ? undefined : fileNameOf(modelSchema.parse(plainOf(call.inputs)));
      const unknown = { fileModificationDate: UNKNOWN, fileSize: UNKNOWN, fileTag: UNKNOWN };
      return { id: "", properties: { ...call.inputs, ...unknown, fileName: known ?? UNKNOWN } };
    }
    const model = modelSchema.parse(plainOf(call.inputs));
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(model.timeoutUpload * 1000)]);
    const fileName = fileNameOf(model);
    const content = await contentTypeOf(client, model, fileName, signal);
    const volid = `${model.datastoreId}:${content}/${fileName}`;
    const there = await listVolumes(client, model.nodeName, model.datastoreId, content, signal);
    if (there.some((volume) => volume.volid === volid)) {
      if (!model.overwrite) throw new Error(`${volid}: is on ${model.nodeName} already, and overwrite is false`);
      call.log("warning", `the existing file ${volid} has been overwritten by the resource`);
    }
    const data = await readSource(model, signal);
    const uploadPath = `nodes/${model.nodeName}/storage/${model.datastoreId}/upload`;
    const start = (): Promise<unknown> => client.upload(uploadPath, { content, fileName, data }, signal);
    await runTask(client, model.nodeName, `upload ${fileName}`, start, signal);
    // The provider works the type out a second time, and asks for the version again.
    await contentTypeOf(client, model, fileName, signal);
    await awaitVolume(client, model.nodeName, volid, content, signal);
    return { id: volid, properties: await propertiesOf(call.inputs, content, fileName) };
  },

  async read({ id, inputs, properties, signal }, client) {
    const model = modelSchema.parse(plainOf(properties ?? inputs ?? {}));
    const content = model.contentType ?? id.split(":")[1]?.split("/")[0] ?? "iso";
    const found = (await listVolumes(client, model.nodeName, model.datastoreId, content, signal)).find(
      (volume) => volume.volid === id,
    );
    if (found === undefined) return undefined;
    const given = inputs ?? {};
    const shown = await propertiesOf({ ...properties, ...given }, content, id.split("/").at(-1) ?? "");
    return { id, inputs: given, properties: shown };
  },

  async update({ olds, news }) {
    // Only settings of the upload can change in place, and there is none now.
    const kept = ["fileModificationDate", "fileName", "fileSize", "fileTag", "contentType"];
    const known = Object.entries(olds).filter(([key]) => kept.includes(key));
    return { properties: { ...Object.fromEntries(known), ...news } };
  },

  async delete({ id, properties, signal }, client) {
    const model = modelSchema.parse(plainOf(properties));
    await deleteVolume(client, model.nodeName, model.datastoreId, id, signal);
  },
};

function field(value: Value | undefined, key: string): unknown {
  const plain = plainOf(value);
  return typeof plain === "object" && plain !== null && !Array.isArray(plain) ? plain[key] : undefined;
}

function fileNameOf({ sourceFile, sourceRaw }: FileModel): string {
  if (sourceRaw !== undefined) return sourceRaw.fileName;
  if (sourceFile === undefined) throw new Error("sourceFile: is required, or sourceRaw");
  if (sourceFile.fileName !== "") return sourceFile.fileName;
  return path.posix.basename(isUrl(sourceFile.path) ? new URL(sourceFile.path).pathname : sourceFile.path);
}

function isUrl(source: string): boolean {
  return /^https?:\/\//.test(source);
}

/** The type asked for, or the one that the name suggests. The provider asks for the version either way. */
async function contentTypeOf(
  client: PveClient,
  model: FileModel,
  fileName: string,
  signal: AbortSignal,
): Promise<string> {
  await client.get("version", undefined, signal);
  if (model.contentType !== undefined) return model.contentType;
  if (/\.tar\.(gz|xz)$/.test(fileName)) return "vztmpl";
  if (/\.(qcow2|raw|vmdk)$/.test(fileName)) return "import";
  if (/\.(img|iso)$/i.test(fileName)) return "iso";
  throw new Error(`contentType: cannot be told from ${fileName}; give one of ${UPLOADS.join(", ")}`);
}

async function readSource({ sourceFile, sourceRaw }: FileModel, signal: AbortSignal): Promise<Buffer> {
  if (sourceRaw !== undefined) {
    if (sourceRaw.resize > 0 && sourceRaw.data.length > sourceRaw.resize) {
      throw new Error(`sourceRaw.resize: cannot shrink ${sourceRaw.data.length} bytes to ${sourceRaw.resize}`);
    }
    return Buffer.from(sourceRaw.data.padEnd(sourceRaw.resize));
  }
  if (sourceFile === undefined) throw new Error("sourceFile: is required, or sourceRaw");
  const data = isUrl(sourceFile.path) ? await fetchSource(sourceFile.path, signal) : await readFile(sourceFile.path);
  const sha256 = createHash("sha256").update(data).digest("hex");
  if (sourceFile.checksum !== "" && sourceFile.checksum !== sha256) {
    throw new Error(`sourceFile.checksum: the file's SHA256 is ${sha256}, want ${sourceFile.checksum}`);
  }
  return data;
}

async function fetchSource(url: string, signal: AbortSignal): Promise<Buffer> {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error(`sourceFile.path: ${url} answered HTTP ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** Outputs: the inputs, and what the local file looks like now. A file that is gone leaves the old words and says so. */
async function propertiesOf(known: Properties, contentType: string, fileName: string): Promise<Properties> {
  const result: Properties = { ...known, contentType, fileName };
  const source = field(known["sourceFile"], "path");
  if (typeof source !== "string" || isUrl(source)) return result;
  const seen = await stat(source).catch(() => undefined);
  if (seen === undefined) {
    const sourceFile = plainOf(known["sourceFile"]);
    const lost: Value = { ...(sourceFile as Record<string, Value>), changed: true };
    result["sourceFile"] = containsSecret(known["sourceFile"]) ? new Secret(lost) : lost;
    return result;
  }
  const seconds = Math.floor(seen.mtimeMs / 1000);
  result["fileModificationDate"] = `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
  result["fileSize"] = seen.size;
  result["fileTag"] = `${seconds.toString(16)}-${seen.size.toString(16)}`;
  return result;
}
