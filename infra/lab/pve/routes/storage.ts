import { badParameters, failure } from "../api-error.ts";
import { ownerOf, parseVolumeId, renderVolumeId } from "../format/volume-id.ts";
import { endpoint } from "../http/endpoint.ts";
import { choice, common, flag, integer, pattern, text } from "../http/parameters.ts";
import type { Lab } from "../lab.ts";
import type { ContentType, Datastore } from "../storage/datastore.ts";
import {
  CHECKSUM_ALGORITHMS,
  COMPRESSIONS,
  contentFileName,
  download,
  store as storeUpload,
} from "../storage/transfer.ts";
import type { Checksum } from "../storage/transfer.ts";
import { drivesOf, freeVolumes } from "../vm/drives.ts";
import { assertNode } from "./checks.ts";
import { downloadUrl } from "./nodes.ts";
import { answerDatastore, answerVolume } from "./storage-answers.ts";

const onNode = { node: common.node, storage: common.storage };
const content = choice("images", "rootdir", "iso", "vztmpl", "import", "snippets", "backup");
const sending = {
  ...onNode,
  content: choice("iso", "vztmpl", "import"),
  filename: text(),
  checksum: pattern(/^[0-9a-fA-F]{32,128}$/, "checksum").optional(),
  "checksum-algorithm": choice(...CHECKSUM_ALGORITHMS).optional(),
};

/** Datastores and what lies on them. */
export const storageEndpoints = [
  endpoint("GET /storage", {
    summary: "How the datastores are set up",
    parameters: { type: text().optional() },
    handle: ({ lab, params }) =>
      lab.datastores
        .all()
        .filter((store) => params.type === undefined || store.type === params.type)
        .map(answerSettings),
  }),
  endpoint("GET /storage/{storage}", {
    summary: "How one datastore is set up",
    parameters: { storage: common.storage },
    handle: ({ lab, params }) => answerSettings(lab.datastores.get(params.storage)),
  }),
  endpoint("GET /nodes/{node}/storage", {
    summary: "Datastores with their space",
    parameters: {
      node: common.node,
      content: text().optional(),
      enabled: flag().optional(),
      format: flag().optional(),
      storage: common.storage.optional(),
      target: common.node.optional(),
    },
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      const wanted = params.content?.split(",") ?? [];
      const stores = lab.datastores
        .all()
        .filter(({ name }) => params.storage === undefined || name === params.storage)
        .filter((store) => wanted.length === 0 || store.content.some((one) => wanted.includes(one)));
      return Promise.all(stores.map(answerDatastore));
    },
  }),
  endpoint("GET /nodes/{node}/storage/{storage}/status", {
    summary: "Space of a datastore",
    parameters: onNode,
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      const status: Record<string, unknown> = await answerDatastore(lab.datastores.get(params.storage));
      delete status["storage"];
      delete status["used_fraction"];
      return status;
    },
  }),
  endpoint("GET /nodes/{node}/storage/{storage}/content", {
    summary: "What lies on a datastore",
    parameters: { ...onNode, content: content.optional(), vmid: common.vmId.optional() },
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      const store = lab.datastores.get(params.storage);
      const volumes = await store.list();
      return volumes
        .filter((volume) => params.content === undefined || volume.content === params.content)
        .filter((volume) => params.vmid === undefined || volume.vmId === params.vmid)
        .map((volume) => answerVolume(store, volume));
    },
  }),
  endpoint("POST /nodes/{node}/storage/{storage}/content", {
    summary: "Make a disk by hand",
    parameters: {
      ...onNode,
      filename: text(),
      size: pattern(/^\d+[MG]?$/, "disk size"),
      vmid: common.vmId,
      format: choice("raw", "qcow2").optional(),
    },
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      const store = lab.datastores.get(params.storage);
      store.assertHolds("images");
      const unit = /M$/.test(params.size) ? 1024 ** 2 : /G$/.test(params.size) ? 1024 ** 3 : 1024;
      const name = await lab.locks.run(params.vmid, () =>
        store.allocateDisk(params.vmid, params.format, Number.parseInt(params.size, 10) * unit),
      );
      return renderVolumeId({ storage: store.name, name });
    },
  }),
  endpoint("GET /nodes/{node}/storage/{storage}/content/{volume}", {
    summary: "One volume",
    parameters: { ...onNode, volume: text() },
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      const { store, name } = locate(lab, params.storage, params.volume);
      const { path, sizeBytes, usedBytes, format } = await store.volume(name);
      return { path, size: sizeBytes, used: usedBytes, format };
    },
  }),
  endpoint("DELETE /nodes/{node}/storage/{storage}/content/{volume}", {
    summary: "Remove a volume",
    parameters: { ...onNode, volume: text(), delay: integer(1, 30).optional() },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      const { store, name } = locate(lab, params.storage, params.volume);
      const volumeId = renderVolumeId({ storage: store.name, name });
      store.pathOf(name);
      const userOfVolume = lab.vms
        .ids()
        .find((vmId) => drivesOf(lab.vms.read(vmId).values).some(({ drive }) => drive.file === volumeId));
      if (ownerOf(name) !== undefined && userOfVolume !== undefined) {
        throw failure(
          `Cannot remove image, a guest with VMID '${userOfVolume}' exists! You can delete the image from guest's hardware pane`,
        );
      }
      return lab.tasks.start("imgdel", `${name}@${store.name}`, user, async ({ log }) => {
        if (ownerOf(name) !== undefined) await freeVolumes(lab, [volumeId], log);
        else if (!(await store.free(name))) log(`volume '${volumeId}' does not exist`);
        log(`Removed volume '${volumeId}'`);
      });
    },
  }),
  endpoint("POST /nodes/{node}/storage/{storage}/download-url", {
    summary: "Fetch a file from a URL",
    parameters: {
      ...sending,
      url: downloadUrl,
      compression: choice(...COMPRESSIONS).optional(),
      "verify-certificates": flag().optional(),
    },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      const path = targetPath(lab, params.storage, params.content, params.filename);
      const order = {
        url: params.url,
        path,
        checksum: checksumOf(params),
        compression: params.compression,
        verifyCertificates: params["verify-certificates"] ?? true,
      };
      return lab.tasks.start("download", params.filename, user, (context) => download(order, context));
    },
  }),
  endpoint("POST /nodes/{node}/storage/{storage}/upload", {
    summary: "Take a file",
    parameters: { ...sending, filename: text().optional(), tmpfilename: text().optional() },
    upload: true,
    handle: ({ lab, user, params, upload }) => {
      assertNode(lab, params.node);
      if (upload === undefined) throw badParameters({ filename: "property is missing and it is not optional" });
      const path = targetPath(lab, params.storage, params.content, upload.filename);
      const checksum = checksumOf(params);
      return lab.tasks.start("imgcopy", "", user, (context) => storeUpload(upload, path, checksum, context));
    },
  }),
];

function answerSettings(store: Datastore): Record<string, unknown> {
  return {
    storage: store.name,
    type: store.type,
    content: [...store.content].sort().join(","),
    path: store.type === "dir" ? store.root : undefined,
    vgname: store.type === "lvmthin" ? "pve" : undefined,
    thinpool: store.type === "lvmthin" ? "data" : undefined,
    shared: 0,
  };
}

/** A volume by its id or, as the provider sometimes has it, by its name alone. @throws ApiError */
function locate(lab: Lab, storage: string, text: string): { store: Datastore; name: string } {
  const store = lab.datastores.get(storage);
  const parsed = parseVolumeId(text);
  if (parsed === undefined) return { store, name: text };
  if (parsed.storage !== storage)
    throw badParameters({ volume: `storage ID does not match (${parsed.storage} != ${storage})` });
  return { store, name: parsed.name };
}

function targetPath(lab: Lab, storage: string, kind: ContentType, filename: string): string {
  const name = contentFileName(kind, filename);
  const store = lab.datastores.get(storage);
  store.assertHolds(kind);
  return store.pathOf(`${kind}/${name}`);
}

function checksumOf(params: {
  checksum?: string | undefined;
  "checksum-algorithm"?: Checksum["algorithm"] | undefined;
}): Checksum | undefined {
  const { checksum: value, "checksum-algorithm": algorithm } = params;
  if (value === undefined && algorithm === undefined) return undefined;
  if (value === undefined) throw badParameters({ checksum: "missing checksum value for given checksum-algorithm" });
  if (algorithm === undefined)
    throw badParameters({ "checksum-algorithm": "missing checksum-algorithm for given checksum" });
  return { algorithm, value };
}
