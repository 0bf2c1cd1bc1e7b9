/** What the orchestrator's init container waits for. */
export interface WaitSpec {
  /** URLs, each of which must answer a GET with 200 once, in this order of complaint. */
  urls: readonly string[];
  /** Pause between two rounds, s. */
  intervalSeconds: number;
  /** Pause after the last answer, s. */
  extraSeconds: number;
  /** Longest wait before it fails and names those missing, s. Absent: for ever. */
  deadlineSeconds?: number;
}

/**
 * The script of the init container, for `node -e`: asks all URLs at once, tells what is missing, ends with 0 when each has answered
 * 200 once and with 1 at the deadline. It stands in for the seed's `curl` loop, so no second image is needed.
 */
export function renderWaitScript({ urls, intervalSeconds, extraSeconds, deadlineSeconds }: WaitSpec): string {
  return [
    `const urls = ${JSON.stringify(urls)};`,
    `const deadline = ${deadlineSeconds === undefined ? "Infinity" : `Date.now() + ${deadlineSeconds * 1000}`};`,
    "const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));",
    "const why = new Map(urls.map((url) => [url, 'not asked yet']));",
    "async function ask(url) {",
    "  try {",
    "    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });",
    "    await answer.arrayBuffer();",
    "    if (answer.status === 200) { why.delete(url); console.log(url + ' is there'); }",
    "    else why.set(url, 'HTTP ' + answer.status);",
    "  } catch (error) { why.set(url, String(error.cause?.code ?? error.name)); }",
    "}",
    "const missing = () => [...why].map(([url, reason]) => url + ' (' + reason + ')').join(', ');",
    "async function main() {",
    "  for (;;) {",
    "    await Promise.all([...why.keys()].map(ask));",
    "    if (why.size === 0) break;",
    `    if (Date.now() >= deadline) { console.error('gave up after ${deadlineSeconds ?? 0} s; missing: ' + missing()); process.exit(1); }`,
    "    console.log('waiting for ' + missing());",
    `    await sleep(${intervalSeconds * 1000});`,
    "  }",
    `  await sleep(${extraSeconds * 1000});`,
    "}",
    "main();",
  ].join("\n");
}
