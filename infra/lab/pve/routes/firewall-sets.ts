import { badParameters, failure } from "../api-error.ts";
import { firewallDigest, named } from "../firewalls.ts";
import type { FirewallEntry } from "../firewalls.ts";
import type { Endpoint } from "../http/endpoint.ts";
import { flag, lines } from "../http/parameters.ts";
import { address, entryName } from "./firewall-parameters.ts";
import { at, entryOf } from "./firewall-places.ts";
import type { Place } from "./firewall-places.ts";

/** Named addresses of a place. */
export function aliasEndpoints(place: Place): Endpoint[] {
  const name = { name: entryName };
  const shown = (alias: string, entry: FirewallEntry) => ({
    name: alias,
    ...entry,
    ipversion: String(entry["cidr"]).includes(":") ? 6 : 4,
    digest: firewallDigest(entry),
  });
  return [
    at(place, "GET", "/aliases", "Names of addresses", {}, (lab, scope) =>
      Object.entries(lab.firewalls.read(scope).aliases).map(([alias, entry]) => shown(alias, entry)),
    ),
    at(
      place,
      "POST",
      "/aliases",
      "Name an address",
      { ...name, cidr: address, comment: lines().optional() },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const alias = String(params["name"]);
          if (Object.hasOwn(set.aliases, alias)) throw badParameters({ name: `alias '${alias}' already exists` });
          set.aliases[alias] = entryOf(params, ["name"]);
        }),
    ),
    at(place, "GET", "/aliases/{name}", "One named address", name, (lab, scope, params) => {
      const alias = String(params["name"]);
      return shown(alias, named(lab.firewalls.read(scope).aliases, alias, "alias"));
    }),
    at(
      place,
      "PUT",
      "/aliases/{name}",
      "Change or rename a named address",
      { ...name, cidr: address, comment: lines().optional(), rename: entryName.optional() },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const alias = String(params["name"]);
          named(set.aliases, alias, "alias");
          delete set.aliases[alias];
          set.aliases[typeof params["rename"] === "string" ? params["rename"] : alias] = entryOf(params, [
            "name",
            "rename",
          ]);
        }),
    ),
    at(place, "DELETE", "/aliases/{name}", "Forget a named address", name, (lab, scope, params) =>
      lab.firewalls.change(scope, (set) => {
        named(set.aliases, String(params["name"]), "alias");
        delete set.aliases[String(params["name"])];
      }),
    ),
  ];
}

/** Sets of addresses of a place. */
export function ipsetEndpoints(place: Place): Endpoint[] {
  const name = { name: entryName };
  const cidr = { cidr: address };
  const nomatch = { nomatch: flag().transform(Number).optional(), comment: lines().optional() };
  return [
    at(place, "GET", "/ipset", "Sets of addresses", {}, (lab, scope) =>
      Object.entries(lab.firewalls.read(scope).ipsets).map(([set, { comment }]) => ({
        name: set,
        comment,
        digest: firewallDigest(set),
      })),
    ),
    at(
      place,
      "POST",
      "/ipset",
      "Make, or with `rename` change, a set of addresses",
      { ...name, comment: lines().optional(), rename: entryName.optional() },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const before = params["rename"];
          const wanted = String(params["name"]);
          const comment = typeof params["comment"] === "string" ? params["comment"] : undefined;
          if (typeof before !== "string" && Object.hasOwn(set.ipsets, wanted))
            throw badParameters({ name: `IPSet '${wanted}' already exists` });
          const members = typeof before === "string" ? named(set.ipsets, before, "IPSet").members : {};
          if (typeof before === "string") delete set.ipsets[before];
          set.ipsets[wanted] = { comment, members };
        }),
    ),
    at(
      place,
      "DELETE",
      "/ipset/{name}",
      "Remove an empty set of addresses",
      { ...name, force: flag().optional() },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const found = named(set.ipsets, String(params["name"]), "IPSet");
          if (Object.keys(found.members).length > 0 && params["force"] !== true)
            throw failure(`IPSet '${String(params["name"])}' is not empty`);
          delete set.ipsets[String(params["name"])];
        }),
    ),
    at(place, "GET", "/ipset/{name}", "Members of a set of addresses", name, (lab, scope, params) =>
      Object.entries(named(lab.firewalls.read(scope).ipsets, String(params["name"]), "IPSet").members).map(
        ([member, entry]) => ({ cidr: member, ...entry }),
      ),
    ),
    at(
      place,
      "POST",
      "/ipset/{name}",
      "Add a member to a set",
      { ...name, ...cidr, ...nomatch },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const { members } = named(set.ipsets, String(params["name"]), "IPSet");
          if (Object.hasOwn(members, String(params["cidr"])))
            throw badParameters({ cidr: `address '${String(params["cidr"])}' already exists` });
          members[String(params["cidr"])] = entryOf(params, ["name", "cidr"]);
        }),
    ),
    at(
      place,
      "DELETE",
      "/ipset/{name}/{cidr}",
      "Take a member out of a set",
      { ...name, ...cidr },
      (lab, scope, params) =>
        lab.firewalls.change(scope, (set) => {
          const { members } = named(set.ipsets, String(params["name"]), "IPSet");
          named(members, String(params["cidr"]), "member");
          delete members[String(params["cidr"])];
        }),
    ),
  ];
}
