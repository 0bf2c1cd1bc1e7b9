/** Where a command of the lab writes: progress to standard error, results to standard output. */
export interface Terminal {
  /** One line of progress. */
  say(line: string): void;
  /** One line of result. */
  print(line: string): void;
}

const started = Date.now();

/** The process's own terminal. Progress lines carry the seconds since the command began. */
export const terminal: Terminal = {
  say: (line) => process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`),
  print: (line) => process.stdout.write(`${line}\n`),
};

/** Runs a long step: says when it begins and how long it took, and passes on what it reports meanwhile, at most once a second. */
export async function step<T>(
  title: string,
  to: Terminal,
  work: (report: (line: string) => void) => Promise<T>,
): Promise<T> {
  const begun = Date.now();
  let told = 0;
  let lastLine = "";
  const value = await work((line) => {
    if (line === lastLine || Date.now() - told < 1000) return;
    lastLine = line;
    told = Date.now();
    to.say(`${title}: ${line}`);
  });
  to.say(`${title}: done in ${seconds(Date.now() - begun)}`);
  return value;
}

/** `12.3 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
