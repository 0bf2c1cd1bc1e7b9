import { z } from "zod";
import { UNKNOWN } from "../provider.ts";
import type { CheckFailure, Properties } from "../provider.ts";
import { checkShape, flag, integer, object, oneOf, text, textLike } from "../shape.ts";
import { diffProperties, markReplaces, plainOf, rootOfPath } from "../values.ts";
import { PveError } from "./client.ts";
import type { PveClient } from "./client.ts";
import { awaitVolume, deleteVolume, listVolumes } from "./content.ts";
import type { Resource } from "./resource.ts";
import { runTask } from "./task.ts";

const shape = object(
  {
    checksum: text,
    checksumAlgorithm: oneOf("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    contentType: oneOf("iso", "import", "vztmpl"),
    datastoreId: text,
    decompressionAlgorithm: oneOf("gz", "lzo", "zst", "bz2"),
    fileName: text,
    nodeName: text,
    overwrite: flag,
    overwriteUnmanaged: flag,
    uploadTimeout: integer(1),
    url: textLike(/^https?:\/\/\S+$/, "an http or https URL"),
    verify: flag,
  },
  ["contentType", "datastoreId", "nodeName", "url"],
);

const modelSchema = z.object({
  checksum: z.string().optional(),
  checksumAlgorithm: z.string().optional(),
  contentType: z.string(),
  datastoreId: z.string(),
  decompressionAlgorithm: z.string().optional(),
  fileName: z.string().optional(),
  nodeName: z.string(),
  overwrite: z.boolean().default(true),
  overwriteUnmanaged: z.boolean().default(false),
  /** Seconds. */
  uploadTimeout: z.number().default(600),
  url: z.string(),
  verify: z.boolean().default(true),
});
type DownloadFile = z.output<typeof modelSchema>;

const metadataSchema = z.looseObject({ filename: z.string().optional(), size: z.number().optional() });

const IN_PLACE = new Set(["overwrite", "overwriteUnmanaged", "uploadTimeout", "verify"]);

/** `proxmoxve:download/file:File`: an image that the host fetches from a URL itself. */
export const downloadFileResource: Resource = {
  async check({ news }) {
    const failures: CheckFailure[] = checkShape(news, shape);
    const has = (key: string): boolean => (news[key] ?? null) !== null;
    if (has("checksum") !== has("checksumAlgorithm")) {
      failures.push({ property: "checksum", reason: "checksum and checksumAlgorithm come together" });
    }
    return { inputs: withoutNulls(news), failures };
  },

  async diff({ olds, oldInputs, news }) {
    const diffs = diffProperties(oldInputs, news);
    const upstream = plainOf(olds["upstreamSize"]);
    const replaces = (path: string): boolean => !IN_PLACE.has(rootOfPath(path));
    const roots = [...new Set(Object.keys(diffs).map(rootOfPath))];
    const replaced = roots.filter((root) => replaces(root));
    const detailed = markReplaces(diffs, replaces);
    // With `overwrite`, a file that differs in size from what the URL serves now is fetched again.
    if (typeof upstream === "number" && upstream !== plainOf(olds["size"]) && plainOf(news["overwrite"]) !== false) {
      replaced.push("size");
      detailed["size"] = "update-replace";
    }
    return { changes: Object.keys(detailed).length > 0, replaces: replaced, detailed };
  },

  async create(call, client) {
    if (call.preview) return { id: "", properties: { ...call.inputs, size: UNKNOWN, ...fileNameOf(call.inputs) } };
    const file = modelSchema.parse(plainOf(call.inputs));
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(file.uploadTimeout * 1000)]);
    const metadata = await readMetadata(client, file, signal);
    const fileName = file.fileName ?? metadata.filename;
    if (fileName === undefined) throw new Error("fileName: the URL names no file; give a fileName");
    await download(client, file, fileName, signal);
    const volid = `${file.datastoreId}:${file.contentType}/${fileName}`;
    const { size } = await awaitVolume(client, file.nodeName, volid, file.contentType, signal);
    return { id: volid, properties: propertiesOf({ ...file, fileName }, size) };
  },

  async read({ id, inputs, properties, signal, log }, client) {
    const file = modelSchema.parse(plainOf(properties ?? inputs ?? {}));
    const found = (await listVolumes(client, file.nodeName, file.datastoreId, file.contentType, signal)).find(
      (volume) => volume.volid === id,
    );
    if (found === undefined) return undefined;
    const shown = propertiesOf({ ...file, fileName: file.fileName ?? id.split("/").at(-1) ?? "" }, found.size);
    if (file.overwrite) {
      try {
        const { size } = await readMetadata(client, file, signal);
        // Only kept when it differs, so that a refresh of an unchanged file changes nothing.
        if (size !== undefined && size !== found.size) shown["upstreamSize"] = size;
      } catch (error) {
        log("warning", `${id}: cannot ask ${new URL(file.url).host} for the file's size: ${messageOf(error)}`);
      }
    }
    return { id, inputs: inputs ?? shown, properties: shown };
  },

  async update({ olds, news, preview }, client) {
    void preview;
    void client;
    const size = plainOf(olds["size"]);
    const fileName = plainOf(olds["fileName"]);
    const file = modelSchema.parse(plainOf(news));
    return {
      properties: propertiesOf(
        { ...file, fileName: typeof fileName === "string" ? fileName : "" },
        typeof size === "number" ? size : 0,
      ),
    };
  },

  async delete({ id, properties, signal }, client) {
    const file = modelSchema.parse(plainOf(properties));
    await deleteVolume(client, file.nodeName, file.datastoreId, id, signal);
  },
};

function fileNameOf(inputs: Properties): Properties {
  return inputs["fileName"] === undefined ? { fileName: UNKNOWN } : {};
}

function withoutNulls(inputs: Properties): Properties {
  return Object.fromEntries(Object.entries(inputs).filter(([, value]) => value !== null));
}

function propertiesOf(file: DownloadFile & { fileName: string }, size: number): Properties {
  const result: Properties = { size };
  for (const [key, value] of Object.entries(file)) if (value !== undefined) result[key] = value;
  return result;
}

async function readMetadata(
  client: PveClient,
  file: DownloadFile,
  signal: AbortSignal,
): Promise<z.output<typeof metadataSchema>> {
  const query = { url: file.url, "verify-certificates": file.verify };
  return metadataSchema.parse(await client.get(`nodes/${file.nodeName}/query-url-metadata`, query, signal));
}

async function download(client: PveClient, file: DownloadFile, fileName: string, signal: AbortSignal): Promise<void> {
  const form = {
    checksum: file.checksum,
    "checksum-algorithm": file.checksumAlgorithm,
    compression: file.decompressionAlgorithm,
    content: file.contentType,
    filename: fileName,
    node: file.nodeName,
    storage: file.datastoreId,
    url: file.url,
    "verify-certificates": file.verify,
  };
  const path = `nodes/${file.nodeName}/storage/${file.datastoreId}`;
  const start = (): Promise<unknown> => client.post(`${path}/download-url`, form, signal);
  const fetchOnce = (): Promise<unknown> => runTask(client, file.nodeName, `download ${fileName}`, start, signal);
  try {
    await fetchOnce();
  } catch (error) {
    if (messageOf(error).includes("refusing to override existing file")) {
      if (!file.overwriteUnmanaged) {
        throw new Error(
          `fileName: ${file.datastoreId}:${file.contentType}/${fileName} is on ${file.nodeName} already and not managed ` +
            "here; delete it, choose another fileName, or set overwriteUnmanaged to true",
          { cause: error },
        );
      }
      await deleteVolume(client, file.nodeName, file.datastoreId, `${file.contentType}/${fileName}`, signal);
      await fetchOnce();
      return;
    }
    await explain(client, file, fileName, error, signal);
  }
}

/** The provider asks for the version to word a refusal: images of type `import` need Proxmox VE 8.4. */
async function explain(
  client: PveClient,
  file: DownloadFile,
  fileName: string,
  error: unknown,
  signal: AbortSignal,
): Promise<never> {
  const answer = z.looseObject({ version: z.string() }).safeParse(await client.get("version", undefined, signal));
  const version = answer.success ? answer.data.version : "unknown";
  throw new Error(
    `could not download ${fileName} from ${file.url} to datastore ${file.datastoreId} of ${file.nodeName} ` +
      `(Proxmox VE ${version}): ${messageOf(error)}`,
    { cause: error instanceof PveError ? undefined : error },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}
