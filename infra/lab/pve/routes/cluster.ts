import { badParameters, failure } from "../api-error.ts";
import { endpoint } from "../http/endpoint.ts";
import { choice, common, text } from "../http/parameters.ts";
import type { Lab } from "../lab.ts";
import { resourceOf } from "../vm/status.ts";
import { nodeFigures } from "./node-figures.ts";
import { answerDatastore } from "./storage-answers.ts";

/** What is asked of the whole cluster, here of one node. */
export const clusterEndpoints = [
  endpoint("GET /version", { summary: "Version of the API", parameters: {}, handle: ({ lab }) => lab.version }),
  endpoint("GET /cluster/nextid", {
    summary: "The lowest free VM id, or a check that one is free",
    parameters: { vmid: common.vmId.optional() },
    handle: ({ lab, params }) => String(nextId(lab, params.vmid)),
  }),
  endpoint("GET /cluster/resources", {
    summary: "Everything there is, by kind",
    parameters: { type: choice("vm", "storage", "node", "sdn").optional() },
    handle: async ({ lab, params }) => {
      const wants = (type: string) => params.type === undefined || params.type === type;
      const vms = wants("vm") ? await Promise.all(lab.vms.ids().map((vmId) => resourceOf(lab, vmId))) : [];
      const stores = wants("storage")
        ? await Promise.all(lab.datastores.all().map((store) => answerDatastore(store)))
        : [];
      const node = wants("node") ? [{ id: `node/${lab.node}`, type: "node", ...(await nodeFigures(lab)) }] : [];
      const listed = stores.map((store) => ({
        id: `storage/${lab.node}/${store.storage}`,
        type: "storage",
        storage: store.storage,
        node: lab.node,
        status: "available",
        shared: 0,
        content: store.content,
        plugintype: store.type,
        maxdisk: store.total,
        disk: store.used,
      }));
      return [...vms, ...node, ...listed];
    },
  }),
  endpoint("GET /cluster/status", {
    summary: "The nodes of the cluster",
    parameters: {},
    handle: ({ lab }) => [
      {
        id: `node/${lab.node}`,
        type: "node",
        name: lab.node,
        online: 1,
        local: 1,
        nodeid: 0,
        ip: lab.address,
        level: "",
      },
    ],
  }),
  endpoint("GET /cluster/tasks", {
    summary: "Tasks, newest first",
    parameters: {},
    handle: ({ lab }) => lab.tasks.list(),
  }),
  endpoint("GET /cluster/options", {
    summary: "Options of the datacentre",
    parameters: {},
    handle: () => ({ keyboard: "en-us", mac_prefix: "BC:24:11" }),
  }),
  endpoint("GET /cluster/ha/status/current", {
    summary: "State of high availability: none on a single host",
    parameters: {},
    handle: () => [{ id: "quorum", type: "quorum", status: "OK", quorate: 1 }],
  }),
  endpoint("GET /cluster/ha/resources", {
    summary: "Resources under high availability",
    parameters: { type: text().optional() },
    handle: () => [],
  }),
  endpoint("GET /cluster/ha/resources/{sid}", {
    summary: "One resource under high availability",
    parameters: { sid: text() },
    handle: ({ params }) => {
      throw failure(`no such resource '${params.sid}'`);
    },
  }),
];

const FIRST_ID = 100;

function nextId(lab: Lab, wanted: number | undefined): number {
  if (wanted !== undefined) {
    if (lab.vms.has(wanted)) throw badParameters({ vmid: `VM ${wanted} already exists` });
    return wanted;
  }
  let id = FIRST_ID;
  while (lab.vms.has(id)) id += 1;
  return id;
}
