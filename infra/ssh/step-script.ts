/** Seconds between the polite end of a step that is too late and the hard one. */
const KILL_AFTER_SECONDS = 10;

/** Exit status of a step whose deadline passed. Source: timeout(1). */
export const DEADLINE_EXIT = 124;

/** What to run of a step's program. */
export interface StepCommand {
  /** Host, for messages. */
  host: string;
  /** What the step does, in a few words: `install k3s`. */
  title: string;
  part: "run" | "undo";
  /** Seconds until the step is ended as failed. */
  deadlineSeconds: number;
}

/**
 * The command line that the host's login shell gets. It becomes root without a password, ends at its deadline with all that it
 * started, and reads its program from standard input: an error quotes the command line, and nobody finds the reason behind
 * a hundred lines of quoted script.
 */
export function renderStep(step: StepCommand): string {
  const name = quote(`${step.host}: ${step.title}`);
  // --norc: a bash whose standard input is a socket takes itself for rsh's and reads ~/.bashrc (bash(1), INVOCATION).
  return `exec sudo -n timeout -k ${KILL_AFTER_SECONDS} ${step.deadlineSeconds} bash --norc -s ${step.part} ${name} ${step.deadlineSeconds}`;
}

/** What a step does. */
export interface StepProgram {
  /** Bash, run as root with `set -euo pipefail`. Safe to run twice. */
  run: string;
  /** Bash that undoes it. @default - nothing */
  undo?: string;
  /** What `run` reads from its standard input; then the whole program is as secret as it. @default - nothing */
  input?: string;
  /** Values whose change runs the step again; in the program as a comment. @default - none */
  triggers?: readonly unknown[];
}

/** The program that {@link renderStep}'s command reads. Its last line on stderr says where it stopped. */
export function renderProgram(program: StepProgram): string {
  const triggers =
    program.triggers === undefined ? "" : `# runs again when these change: ${JSON.stringify(program.triggers)}\n`;
  return `${triggers}set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
part=$1 where=$2 deadline=$3
trap 'echo "$where: not done within $deadline s" >&2; trap - EXIT; exit ${DEADLINE_EXIT}' TERM
trap 'code=$?; [ "$code" = 0 ] || echo "$where: exit $code after $SECONDS s" >&2' EXIT
step_run() {
${program.run}
}
step_undo() {
${program.undo ?? ":"}
}
case "$part" in
run) step_run ${program.input === undefined ? "< /dev/null" : `<<< ${quote(program.input)}`} ;;
undo) step_undo < /dev/null ;;
esac
`;
}

/** Text as one word of a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
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
