import type { z } from "zod";
import { failure } from "../api-error.ts";
import type { FirewallEntry } from "../firewalls.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Endpoint } from "../http/endpoint.ts";
import { common } from "../http/parameters.ts";
import type { Lab } from "../lab.ts";
import { assertNode } from "./checks.ts";
import { groupName } from "./firewall-parameters.ts";

/** Checked parameters of a request. */
export type Params = Readonly<Record<string, unknown>>;
/** Answers a request in a scope. */
export type Handler = (lab: Lab, scope: string, params: Params) => unknown;

/** Where a firewall's settings are found: how its paths begin, their parameters, and the scope that a request means. */
export interface Place {
  prefix: `/${string}`;
  path: z.ZodRawShape;
  scope: (lab: Lab, params: Params) => string;
}

/** The whole cluster. */
export const cluster: Place = { prefix: "/cluster/firewall", path: {}, scope: () => "cluster" };
/** One security group. */
export const group: Place = {
  prefix: "/cluster/firewall/groups/{group}",
  path: { group: groupName },
  scope: (lab, params) => {
    const scope = `group/${String(params["group"])}`;
    if (!lab.firewalls.scopes("group/").includes(scope))
      throw failure(`no such security group '${String(params["group"])}'`);
    return scope;
  },
};
/** One node. */
export const node: Place = {
  prefix: "/nodes/{node}/firewall",
  path: { node: common.node },
  scope: (lab, params) => {
    assertNode(lab, String(params["node"]));
    return "node";
  },
};
/** One VM. */
export const guest: Place = {
  prefix: "/nodes/{node}/qemu/{vmid}/firewall",
  path: { node: common.node, vmid: common.vmId },
  scope: (lab, params) => {
    assertNode(lab, String(params["node"]));
    lab.vms.read(Number(params["vmid"]));
    return `vm/${Number(params["vmid"])}`;
  },
};

/** Declares an endpoint below a place. */
export function at(
  place: Place,
  method: Endpoint["method"],
  rest: string,
  summary: string,
  parameters: z.ZodRawShape,
  handle: Handler,
): Endpoint {
  return endpoint(`${method} ${place.prefix}${rest}`, {
    summary,
    parameters: { ...place.path, ...parameters, ...(method === "GET" ? {} : { digest: common.digest.optional() }) },
    handle: (call) => {
      const params: Params = call.params;
      return handle(call.lab, place.scope(call.lab, params), params);
    },
  });
}

/** The parameters of a request that are settings, not part of the path or of the protocol. */
export function entryOf(params: Params, without: readonly string[] = []): FirewallEntry {
  const skip = ["node", "vmid", "digest", "delete", "pos", "moveto", ...without];
  return Object.fromEntries(
    Object.entries(params).flatMap(([key, value]): [string, string | number][] =>
      !skip.includes(key) && (typeof value === "string" || typeof value === "number") ? [[key, value]] : [],
    ),
  );
}

/** Options that a request unsets. */
export function deletedKeys(params: Params): string[] {
  const keys = params["delete"];
  return Array.isArray(keys) ? keys.map(String) : [];
}
