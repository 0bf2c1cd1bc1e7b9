import * as proxmox from "@muhlba91/pulumi-proxmoxve";
import * as pulumi from "@pulumi/pulumi";
import { ArgsError } from "../args.ts";
import type { Host } from "./host-pool.ts";

/**
 * How long a host may take to answer, in milliseconds. All are asked at once, so this is how long the whole check may take. The provider's own
 * start is part of it: on two cores that were busy with other things it took over 12 s.
 */
const ANSWER_TIMEOUT_MS = 40_000;
/** Longest part of a provider's own words that a message repeats, characters. */
const MAX_REASON = 300;
/** An API token anywhere in a text. No provider is known to print one; this keeps it so. */
const TOKEN = /[^\s@"']+@[^\s@!"']+![^\s="']+=[^\s"',)]+/g;

/** What a message says of a host, without its provider. */
export type CheckedHost = Pick<Host, "name" | "endpoint" | "node" | "datastore" | "imageDatastore">;

/** What the check reads of a datastore. */
export interface Datastore {
  /** Its name, such as `local-lvm`. */
  id: string;
  /** What it may hold: `images`, `import`, `iso` and others. */
  contentTypes: readonly string[];
  /** False when the host cannot use it now. Absent when the host does not say. */
  active?: boolean;
  /** False when it is switched off. Absent when the host does not say. */
  enabled?: boolean;
}

/**
 * Asks every host, all at once, whether what is to be built can be: it answers, its certificate is trusted, the token is
 * good, the node is there, and so are both datastores with their content types. In a preview nothing is asked: a preview
 * works before any host is there. The bridge is not checked, since no function of the provider lists bridges; a wrong one
 * fails when the VM starts.
 * @param owner what the message is shown on; the stack when absent
 * @throws ArgsError that lists every problem of every host, one line each, without the token
 */
export async function checkHosts(hosts: readonly Host[], owner?: pulumi.Resource): Promise<void> {
  if (pulumi.runtime.isDryRun()) return;
  const problems = (await Promise.all(hosts.map(problemsOf))).flat();
  if (problems.length > 0) throw new ArgsError(problems.join("\n"), owner);
}

async function problemsOf(host: Host): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const late = new Error(`timeout: no answer within ${String(ANSWER_TIMEOUT_MS / 1000)} s`);
    timer = setTimeout(() => {
      reject(late);
    }, ANSWER_TIMEOUT_MS);
  });
  try {
    const asked = proxmox.getDatastores({ nodeName: host.node }, { provider: host.provider, parent: host.provider });
    const { datastores } = await Promise.race([asked, silence]);
    return datastoreProblems(host, datastores ?? []);
  } catch (error) {
    return [failureProblem(host, error instanceof Error ? error.message : String(error))];
  } finally {
    clearTimeout(timer);
  }
}

/** What is wrong with a host's datastores, one line each. */
export function datastoreProblems(host: CheckedHost, found: readonly Datastore[]): string[] {
  return [
    ...storeProblems(host, "datastore", ["images"], found),
    ...storeProblems(host, "imageDatastore", ["import", "iso"], found),
  ];
}

function storeProblems(
  host: CheckedHost,
  setting: "datastore" | "imageDatastore",
  needed: readonly string[],
  found: readonly Datastore[],
): string[] {
  const id = host[setting];
  const got = `hosts.${host.name}.${setting}: got "${id}"`;
  const store = found.find((candidate) => candidate.id === id);
  if (store === undefined) {
    if (found.length === 0) {
      return [
        `${got}, but node ${host.node} shows no datastore at all; the token may lack Datastore.Audit: ` +
          "make it with `--privsep 0`, or give it that right on /storage",
      ];
    }
    const fitting = found.filter((candidate) => needed.every((type) => candidate.contentTypes.includes(type)));
    const list = found.map((candidate) => `${candidate.id} (${candidate.contentTypes.join(",")})`).join(", ");
    const [first] = fitting;
    const fix =
      first === undefined
        ? `make one that takes ${needed.join(" and ")}`
        : `set it to one of these, such as ${first.id}`;
    return [`${got}, which node ${host.node} does not have; there are ${list}; ${fix}`];
  }
  if (store.enabled === false || store.active === false) {
    return [
      `${got}, which is ${store.enabled === false ? "disabled" : "not active"} on node ${host.node}; want one in use; ` +
        `see \`pvesm status\` there, or \`pvesm set ${id} --disable 0\``,
    ];
  }
  const missing = needed.filter((type) => !store.contentTypes.includes(type));
  if (missing.length === 0) return [];
  const other = found.find((candidate) => needed.every((type) => candidate.contentTypes.includes(type)));
  const wanted = [...store.contentTypes, ...missing].join(",");
  const fix =
    other === undefined
      ? `run \`pvesm set ${id} --content ${wanted}\` on the host, or name another`
      : `set it to ${other.id}, which does`;
  return [
    `${got}, which holds ${store.contentTypes.join(", ")}, want one that also holds ${missing.join(" and ")}; ${fix}`,
  ];
}

/**
 * One line for a host that could not be asked: the setting to look at, and the fix. Which setting it is comes from the words of
 * the failure, as Go, Node or Proxmox VE put it; words that are not known are the endpoint's, and are repeated either way.
 */
export function failureProblem(host: CheckedHost, failure: string): string {
  const reason = reasonOf(failure);
  const endpoint = `hosts.${host.name}.endpoint: got ${host.endpoint}`;
  if (/x509|certificate|SSL_CERT_FILE|self.signed/i.test(reason)) {
    return (
      `${endpoint}, whose certificate is not trusted here (${reason}); want one signed by a known authority for that ` +
      "address; copy the host's /etc/pve/pve-root-ca.pem here and name that file in SSL_CERT_FILE"
    );
  }
  if (/\b401\b|authentication fail|unauthorized/i.test(reason)) {
    return (
      `hosts.${host.name}: ${host.endpoint} does not accept the API token, got one that is not shown (${reason}); ` +
      "want a token of that host that is not expired; see `pveum user token list root@pam` there, then " +
      "`pulumi config set --secret gorkheavy:proxmoxApiToken`"
    );
  }
  if (/\b403\b|permission|forbidden/i.test(reason)) {
    return (
      `hosts.${host.name}: ${host.endpoint} refuses the API token, which is not shown (${reason}); want one that may do ` +
      "what its user may; make it with `pveum user token add root@pam gorkheavy --privsep 0`"
    );
  }
  if (/hostname lookup|no such (cluster )?node|\b596\b|node .*(does not exist|not found|unknown)/i.test(reason)) {
    return (
      `hosts.${host.name}.node: got "${host.node}", which ${host.endpoint} does not know (${reason}); ` +
      "want the node's name as Proxmox VE shows it; see `pvesh get /nodes` on the host"
    );
  }
  return (
    `${endpoint}, which does not answer as wanted (${reason}); want the API of a Proxmox VE host that is on; ` +
    `try \`curl ${new URL(host.endpoint).origin}\` from here, then correct the address or switch the host on`
  );
}

/** The provider's own words on one line, without a token. */
function reasonOf(failure: string): string {
  const line = failure
    // What the engine puts before it.
    .replace(/^.*?\bgetDatastores\b.*?(failed|returned an error): /s, "")
    .replace(TOKEN, "(token)")
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length <= MAX_REASON ? line : `${line.slice(0, MAX_REASON)}…`;
}
