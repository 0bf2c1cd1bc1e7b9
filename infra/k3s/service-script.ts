import { PUT_FUNCTION, quote, renderPut } from "../ssh/step-script.ts";
import {
  AUDIT_LOG_FOLDER,
  AUDIT_POLICY_FILE,
  CONFIG_FILE,
  type K3sSettings,
  type NodeConfig,
  POD_SECURITY_FILE,
  renderAgentConfig,
  renderAuditPolicy,
  renderPodSecurity,
  renderServerConfig,
  TOKEN_FILE,
} from "./config.ts";
import { type K3sRole, renderUnit, unitName } from "./units.ts";

/** Seconds that a node may take to become Ready, images imported and all. */
export const READY_SECONDS = 600;

/** Seconds between two signs of life while a node is waited for. */
const PROGRESS_SECONDS = 30;

/** Lines of the journal with an error in them that a failed start's message has. */
const JOURNAL_LINES = 15;

/** The administrator's kubeconfig on a server. Source: K3s documentation, "Cluster Access". */
export const KUBECONFIG_FILE = "/etc/rancher/k3s/k3s.yaml";

/** The token for joining, on a server (A25). */
export const NODE_TOKEN_FILE = "/var/lib/rancher/k3s/server/node-token";

const KUBECTL = `kubectl() { /usr/local/bin/k3s kubectl --kubeconfig ${KUBECONFIG_FILE} --request-timeout=10s "$@"; }`;

/** Bash that sets the server up, starts it and waits until it and its own node are Ready. */
export function renderServerService(node: NodeConfig, settings: K3sSettings, version: string): string {
  return [
    PUT_FUNCTION,
    renderPut(CONFIG_FILE, "0600", renderServerConfig(node, settings)),
    ...(settings.hardened
      ? [
          `install -d -m 0700 ${AUDIT_LOG_FOLDER}`,
          renderPut(AUDIT_POLICY_FILE, "0600", renderAuditPolicy()),
          renderPut(POD_SECURITY_FILE, "0600", renderPodSecurity(settings)),
        ]
      : []),
    renderStart("server", version),
    KUBECTL,
    renderReadyTest(node.name),
    renderWait("k3s", "ready", `node ${node.name} is not Ready`),
    `echo Ready`,
  ].join("\n");
}

/** Bash that sets an agent up, starts it and waits until it has joined. Reads the token from standard input. */
export function renderAgentService(
  node: NodeConfig,
  settings: K3sSettings,
  serverAddress: string,
  version: string,
): string {
  return [
    PUT_FUNCTION,
    `umask 077`,
    `IFS= read -r token || [ -n "$token" ]`,
    `case "$token" in K10*::*) ;; *) echo "the server's token is of no known form" >&2; exit 65 ;; esac`,
    `put ${TOKEN_FILE} 0600 <<< "$token"`,
    `unset token`,
    renderPut(CONFIG_FILE, "0600", renderAgentConfig(node, settings, serverAddress)),
    renderStart("agent", version),
    // The kubelet answers here when it runs; that the cluster says Ready is seen from the server.
    `ready() { systemctl is-active --quiet k3s-agent && curl -fsS -m 5 -o /dev/null http://127.0.0.1:10248/healthz; }`,
    renderWait("k3s-agent", "ready", `the agent has not joined https://${serverAddress}:6443`),
    `echo joined`,
  ].join("\n");
}

/** Starts the unit, or restarts it when something it reads has changed. A start that is still going on is left alone. */
function renderStart(role: K3sRole, version: string): string {
  const unit = unitName(role);
  return `${renderPut(`/etc/systemd/system/${unit}.service`, "0644", renderUnit(role))}
install -m 0600 /dev/null /etc/systemd/system/${unit}.service.env
# Which version the running service was started as: a new binary under it is a change too.
put /etc/rancher/k3s/started-version 0644 <<< ${quote(version)}
systemctl daemon-reload
systemctl enable --quiet ${unit}.service
if [ "$changed" = 1 ]; then systemctl restart --no-block ${unit}.service; else systemctl start --no-block ${unit}.service; fi`;
}

function renderReadyTest(name: string): string {
  return `ready() {
  [ "$(kubectl get --raw /readyz 2>/dev/null)" = ok ] &&
    [ "$(kubectl get node ${name} -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]
}`;
}

/** Waits for a shell function; on failure says so with the journal's errors and last lines, tokens taken out. */
function renderWait(unit: string, test: string, problem: string): string {
  return `end=$((SECONDS + ${READY_SECONDS}))
next=$((SECONDS + ${PROGRESS_SECONDS}))
journal() { journalctl -u ${unit} --no-pager -o cat -n 500 2>/dev/null | sed -E 's/K10[0-9a-f]+::[^ "]*/[token]/g' | cut -c 1-400; }
until ${test}; do
  if [ "$SECONDS" -ge "$end" ]; then
    echo "-- errors in journalctl -u ${unit}" >&2
    journal | grep -iE 'fail|fatal|error|refused|denied' | tail -n ${JOURNAL_LINES} >&2 || true
    echo "-- its last lines" >&2
    journal | tail -n 5 >&2
    echo ${quote(`${problem} after ${READY_SECONDS} s`)} >&2
    exit 1
  fi
  if [ "$SECONDS" -ge "$next" ]; then
    echo "still waiting for ${unit} after $SECONDS s of ${READY_SECONDS} s: $(systemctl is-active ${unit} || true)" >&2
    next=$((SECONDS + ${PROGRESS_SECONDS}))
  fi
  sleep 1
done`;
}

/** Prints the token and the kubeconfig, with a line between them. Its output is a secret. */
export function renderCredentials(): string {
  return `cat ${NODE_TOKEN_FILE}\necho ${quote(CREDENTIALS_MARK)}\ncat ${KUBECONFIG_FILE}`;
}

/** The line between token and kubeconfig. */
export const CREDENTIALS_MARK = "---8<---";

/** Minutes for which a node counts as new: what it says of itself can only be of this start. */
const NEW_NODE_MINUTES = 2;

/**
 * Bash, on the server, that waits until a node is in the cluster and alive: Ready, its kubelet answering through the API
 * server just now, and, unless it is new, its lease renewed since this began (every 10 s), so that what a node said before
 * it was restarted does not pass.
 */
export function renderMembership(name: string): string {
  return `${KUBECTL}
began=$(date -u +%Y-%m-%dT%H:%M:%S)
lately=$(date -u -d '-${NEW_NODE_MINUTES} minutes' +%Y-%m-%dT%H:%M:%S)
fresh() {
  [[ "$(kubectl get node ${name} -o 'jsonpath={.metadata.creationTimestamp}' 2>/dev/null)" > "$lately" ]] ||
    [[ "$(kubectl -n kube-node-lease get lease ${name} -o 'jsonpath={.spec.renewTime}' 2>/dev/null)" > "$began" ]]
}
ready() {
  [ "$(kubectl get --raw /api/v1/nodes/${name}/proxy/healthz 2>/dev/null)" = ok ] &&
    [ "$(kubectl get node ${name} -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ] &&
    fresh
}
end=$((SECONDS + ${READY_SECONDS}))
next=$((SECONDS + ${PROGRESS_SECONDS}))
until ready; do
  if [ "$SECONDS" -ge "$next" ]; then
    echo "still waiting for node ${name} after $SECONDS s of ${READY_SECONDS} s" >&2
    next=$((SECONDS + ${PROGRESS_SECONDS}))
  fi
  if [ "$SECONDS" -ge "$end" ]; then
    kubectl get node ${name} -o 'jsonpath={range .status.conditions[*]}{.type}={.status} {.message}{"\\n"}{end}' >&2 || true
    echo "node ${name} is not Ready after ${READY_SECONDS} s; on ${name} look at: journalctl -u k3s-agent" >&2
    exit 1
  fi
  sleep 1
done
echo Ready`;
}

/** Seconds that the pods of a node that leaves have to end. */
export const DRAIN_SECONDS = 180;

/**
 * Bash, on the server, that takes a node out: no new pods, those there move on, then the node and its password go, so that a
 * machine of the same name can join again. A node that is down is not waited for: its pods can end nowhere.
 */
export function renderLeave(name: string): string {
  return `${KUBECTL}
state=$(kubectl get node ${name} --ignore-not-found -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
if [ -n "$state" ]; then
  kubectl cordon ${name}
  if [ "$state" = True ]; then
    /usr/local/bin/k3s kubectl --kubeconfig ${KUBECONFIG_FILE} drain ${name} --ignore-daemonsets --delete-emptydir-data --force --timeout=${DRAIN_SECONDS}s
  else
    echo "${name} is not Ready: its pods are not waited for" >&2
  fi
fi
kubectl delete node ${name} --ignore-not-found
kubectl -n kube-system delete secret ${name}.node-password.k3s --ignore-not-found`;
}

/** Bash that removes K3s from a machine that stays. */
export function renderRemoval(): string {
  return `if [ -x /usr/local/bin/k3s-uninstall.sh ]; then /usr/local/bin/k3s-uninstall.sh; fi`;
}
