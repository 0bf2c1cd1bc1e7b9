import { endpoint } from "../http/endpoint.ts";
import { choice, common, flag, pattern, text } from "../http/parameters.ts";
import { probeUrl } from "../storage/transfer.ts";
import { assertNode } from "./checks.ts";
import { nodeFigures, nodeStatus } from "./node-figures.ts";
import { failure } from "../api-error.ts";
import type { Bridge } from "../lab.ts";

/** A URL that can be downloaded from. */
export const downloadUrl = pattern(/^https?:\/\/\S+$/, "URL");

/** What is asked of the node itself. */
export const nodeEndpoints = [
  endpoint("GET /nodes", {
    summary: "The nodes",
    parameters: {},
    handle: async ({ lab }) => [{ id: `node/${lab.node}`, type: "node", ...(await nodeFigures(lab)) }],
  }),
  endpoint("GET /nodes/{node}/status", {
    summary: "A node's figures",
    parameters: { node: common.node },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return nodeStatus(lab);
    },
  }),
  endpoint("GET /nodes/{node}/version", {
    summary: "Version of the node",
    parameters: { node: common.node },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return lab.version;
    },
  }),
  endpoint("GET /nodes/{node}/query-url-metadata", {
    summary: "Name, size and type of a file behind a URL",
    parameters: { node: common.node, url: downloadUrl, "verify-certificates": flag().optional() },
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      return probeUrl(params.url, params["verify-certificates"] ?? true);
    },
  }),
  endpoint("GET /nodes/{node}/network", {
    summary: "Network devices",
    parameters: {
      node: common.node,
      type: choice(
        "bridge",
        "any_bridge",
        "any_local_bridge",
        "eth",
        "bond",
        "vlan",
        "alias",
        "include_sdn",
      ).optional(),
    },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      const wanted = params.type === undefined || params.type.includes("bridge") || params.type === "include_sdn";
      return wanted ? lab.bridges.map(answerBridge) : [];
    },
  }),
  endpoint("GET /nodes/{node}/network/{iface}", {
    summary: "One network device",
    parameters: { node: common.node, iface: text() },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      const bridge = lab.bridges.find(({ name }) => name === params.iface);
      if (bridge === undefined) throw failure(`interface '${params.iface}' does not exist`);
      return answerBridge(bridge);
    },
  }),
  endpoint("GET /nodes/{node}/dns", {
    summary: "Name servers",
    parameters: { node: common.node },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return { search: "lab", dns1: lab.bridges[0]?.gateway };
    },
  }),
  endpoint("GET /nodes/{node}/time", {
    summary: "The node's clock",
    parameters: { node: common.node },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      const time = Math.floor(lab.now() / 1000);
      return { time, localtime: time, timezone: "UTC" };
    },
  }),
];

function answerBridge(bridge: Bridge): Record<string, unknown> {
  const { name, address, prefix, gateway } = bridge;
  return {
    iface: name,
    type: "bridge",
    active: 1,
    autostart: 1,
    method: address === undefined ? "manual" : "static",
    method6: "manual",
    families: ["inet"],
    bridge_ports: "",
    bridge_stp: "off",
    bridge_fd: "0",
    priority: 3,
    address,
    netmask: prefix === undefined ? undefined : String(prefix),
    cidr: address === undefined || prefix === undefined ? undefined : `${address}/${prefix}`,
    gateway,
  };
}
