import { endpoint } from "../http/endpoint.ts";
import { text } from "../http/parameters.ts";

/** Who may do what: one administrator and one API token, with every right. */
export const accessEndpoints = [
  endpoint("POST /access/ticket", {
    summary: "Log in with a password",
    parameters: {
      username: text(),
      password: text(),
      realm: text().optional(),
      otp: text().optional(),
      "new-format": text().optional(),
      path: text().optional(),
      privs: text().optional(),
      "tfa-challenge": text().optional(),
    },
    open: true,
    handle: ({ lab, params }) => {
      const user = params.username.includes("@") ? params.username : `${params.username}@${params.realm ?? "pam"}`;
      return { ...lab.tickets.login(user, params.password), cap: {} };
    },
  }),
  endpoint("GET /access/users", {
    summary: "List users",
    parameters: { enabled: text().optional(), full: text().optional() },
    handle: () => [{ userid: "root@pam", enable: 1, expire: 0, "realm-type": "pam" }],
  }),
  endpoint("GET /access/groups", { summary: "List groups", parameters: {}, handle: () => [] }),
  endpoint("GET /access/roles", {
    summary: "List roles",
    parameters: {},
    handle: () => [
      {
        roleid: "Administrator",
        special: 1,
        privs: "Datastore.Allocate,Datastore.AllocateSpace,Pool.Allocate,Sys.Modify,VM.Allocate",
      },
    ],
  }),
  endpoint("GET /access/acl", { summary: "List access rules", parameters: {}, handle: () => [] }),
  endpoint("GET /access/permissions", {
    summary: "Rights of the one who asks",
    parameters: { path: text().optional(), userid: text().optional() },
    handle: () => ({ "/": { "Datastore.Allocate": 1, "Pool.Allocate": 1, "Sys.Modify": 1, "VM.Allocate": 1 } }),
  }),
];
