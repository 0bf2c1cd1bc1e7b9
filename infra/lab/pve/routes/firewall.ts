import type { z } from "zod";
import { badParameters, failure } from "../api-error.ts";
import { firewallDigest, ruleAt } from "../firewalls.ts";
import type { Endpoint } from "../http/endpoint.ts";
import { integer, lines, list, text } from "../http/parameters.ts";
import { clusterOptions, groupName, guestOptions, nodeOptions, rule, ruleType } from "./firewall-parameters.ts";
import { at, cluster, deletedKeys, entryOf, group, guest, node } from "./firewall-places.ts";
import type { Params, Place } from "./firewall-places.ts";
import { aliasEndpoints, ipsetEndpoints } from "./firewall-sets.ts";

function optionEndpoints(place: Place, options: z.ZodRawShape): Endpoint[] {
  return [
    at(place, "GET", "/options", "Firewall options", {}, (lab, scope) => {
      const { options: set } = lab.firewalls.read(scope);
      return { ...set, digest: firewallDigest(set) };
    }),
    at(
      place,
      "PUT",
      "/options",
      "Change firewall options",
      { ...options, delete: list().optional() },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          for (const key of deletedKeys(params)) delete set.options[key];
          Object.assign(set.options, entryOf(params));
        }),
    ),
  ];
}

function ruleEndpoints(place: Place, rest: string): Endpoint[] {
  const pos = { pos: integer(0) };
  const position = (params: Params) => Number(params["pos"]);
  const own = place === group ? ["group"] : [];
  return [
    at(place, "GET", rest, "Firewall rules, the first match wins", {}, (lab, scope) =>
      lab.firewalls.read(scope).rules.map((one, index) => ({ pos: index, ...one, digest: firewallDigest(one) })),
    ),
    at(
      place,
      "POST",
      rest,
      "Add a rule before all others",
      { ...rule, action: text(), type: ruleType, pos: integer(0).optional() },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          set.rules.unshift(entryOf(params, own));
        }),
    ),
    at(place, "GET", `${rest}/{pos}`, "One firewall rule", pos, (lab, scope, params) => {
      const one = ruleAt(lab.firewalls.read(scope), position(params));
      // A text here, a number in the list: so it is on Proxmox.
      return { ...one, pos: String(position(params)), digest: firewallDigest(one) };
    }),
    at(
      place,
      "PUT",
      `${rest}/{pos}`,
      "Change or move a firewall rule",
      {
        ...pos,
        ...rule,
        action: text().optional(),
        type: ruleType.optional(),
        moveto: integer(0).optional(),
        delete: list().optional(),
      },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const from = position(params);
          const one = ruleAt(set, from);
          if (typeof params["moveto"] === "number") {
            const to = params["moveto"];
            set.rules.splice(from, 1);
            set.rules.splice(to > from ? to - 1 : to, 0, one);
            return;
          }
          for (const key of deletedKeys(params)) delete one[key];
          Object.assign(one, entryOf(params, own));
        }),
    ),
    at(place, "DELETE", `${rest}/{pos}`, "Remove a firewall rule", pos, (lab, scope, params) =>
      lab.firewalls.change(scope, (set) => {
        ruleAt(set, position(params));
        set.rules.splice(position(params), 1);
      }),
    ),
  ];
}

const groups: Place = { prefix: "/cluster/firewall/groups", path: {}, scope: () => "group/" };
const groupEndpoints: Endpoint[] = [
  at(groups, "GET", "", "Security groups", {}, (lab) =>
    lab.firewalls.scopes("group/").map((scope) => {
      const { options } = lab.firewalls.read(scope);
      return { group: scope.slice("group/".length), ...options, digest: firewallDigest(options) };
    }),
  ),
  at(
    groups,
    "POST",
    "",
    "Make, or with `rename` change, a security group",
    { group: groupName, comment: lines().optional(), rename: groupName.optional() },
    async (lab, _, params) => {
      const scope = `group/${String(params["group"])}`;
      const before = typeof params["rename"] === "string" ? `group/${params["rename"]}` : undefined;
      const known = lab.firewalls.scopes("group/");
      if (before === undefined && known.includes(scope))
        throw badParameters({ group: `security group '${String(params["group"])}' already exists` });
      if (before !== undefined && !known.includes(before))
        throw failure(`no such security group '${String(params["rename"])}'`);
      const rules = before === undefined ? [] : lab.firewalls.read(before).rules;
      await lab.firewalls.change(scope, (set) => {
        set.rules = rules;
        set.options = entryOf({ comment: params["comment"] });
      });
      if (before !== undefined && before !== scope) await lab.firewalls.remove(before);
    },
  ),
  at(group, "DELETE", "", "Remove an empty security group", {}, (lab, scope, params) => {
    if (lab.firewalls.read(scope).rules.length > 0)
      throw failure(`security group '${String(params["group"])}' is not empty`);
    return lab.firewalls.remove(scope);
  }),
  ...ruleEndpoints(group, ""),
];

/** Firewall settings of the cluster, its security groups, the node and each VM. Kept and answered, not enforced. */
export const firewallEndpoints: readonly Endpoint[] = [
  ...optionEndpoints(cluster, clusterOptions),
  ...optionEndpoints(node, nodeOptions),
  ...optionEndpoints(guest, guestOptions),
  ...[cluster, node, guest].flatMap((place) => ruleEndpoints(place, "/rules")),
  ...[cluster, guest].flatMap(aliasEndpoints),
  ...[cluster, guest].flatMap(ipsetEndpoints),
  ...groupEndpoints,
];
