/** What one step runs on a host. */
export interface StepScript {
  /** Host, for messages. */
  host: string;
  /** What the step does, in a few words: `install k3s`. */
  title: string;
  /** Bash, run as root with `set -euo pipefail`. Safe to run twice. */
  script: string;
  /** Seconds until the step is ended as failed. */
  deadlineSeconds: number;
}

/** Seconds between the polite end of a step that is too late and the hard one. */
const KILL_AFTER_SECONDS = 10;

/** Exit status of a step whose deadline passed. Source: timeout(1). */
export const DEADLINE_EXIT = 124;

/**
 * The command line that the host's login shell gets. It becomes root without a password, ends at its deadline with all that
 * it started, and leaves a last line on stderr that says where it stopped. Standard input goes to the script.
 */
export function renderStep(step: StepScript): string {
  const where = `${step.host}: ${step.title}`;
  const wrapped = [
    "set -euo pipefail",
    "export LC_ALL=C DEBIAN_FRONTEND=noninteractive",
    `trap 'echo ${quoteTwice(`${where}: not done within ${step.deadlineSeconds} s`)} >&2; trap - EXIT; exit ${DEADLINE_EXIT}' TERM`,
    `trap 'code=$?; [ "$code" = 0 ] || echo ${quoteTwice(`${where}: exit `)}"$code after $SECONDS s" >&2' EXIT`,
    step.script,
  ].join("\n");
  // --norc: a bash whose standard input is a socket takes itself for rsh's and reads ~/.bashrc (bash(1), INVOCATION).
  return `exec sudo -n timeout -k ${KILL_AFTER_SECONDS} ${step.deadlineSeconds} bash --norc -c ${quote(wrapped)}`;
}

/** Text as one word of a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Text as one word inside a word in single quotes: in double quotes, with what those still read taken out. */
function quoteTwice(text: string): string {
  return `"${text.replaceAll(/["'$`\\!]/g, "")}"`;
}

/**
 * Bash that writes a file when its content differs: `put` then has set `changed=1`. The content is shown as it is, so a
 * preview shows what changes in it.
 */
export const PUT_FUNCTION = `changed=0
put() {
  local path=$1 mode=$2 fresh
  mkdir -p "$(dirname "$path")"
  fresh=$(mktemp "$path.XXXXXX")
  cat > "$fresh"
  chmod "$mode" "$fresh"
  if [ -f "$path" ] && cmp -s "$fresh" "$path"; then
    rm -f "$fresh"
    chmod "$mode" "$path"
  else
    mv -f "$fresh" "$path"
    changed=1
  fi
}`;

/** Bash that puts a text into a file by {@link PUT_FUNCTION}. @throws RangeError when the text holds the end mark */
export function renderPut(path: string, mode: string, content: string): string {
  const mark = "END_OF_FILE";
  if (content.split("\n").includes(mark)) throw new RangeError(`${path}: the content must not hold a line ${mark}`);
  return `put ${path} ${mode} <<'${mark}'\n${content.replace(/\n$/, "")}\n${mark}`;
}
