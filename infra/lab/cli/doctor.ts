import { readRequirements } from "../nodes/requirements.ts";
import { goVersion } from "../tools/go.ts";
import { missingPrograms } from "../tools/packages.ts";
import type { Terminal } from "./terminal.ts";

/** Says what this machine has and lacks for the lab; exit code 1 when something is missing that the lab cannot install. */
export async function doctor(options: { json?: boolean }, to: Terminal): Promise<void> {
  const findings: { what: string; ok: boolean; fix?: string }[] = [...(await readRequirements())];
  const go = await goVersion().then(
    (version) => ({ what: `go ${version}`, ok: true }),
    (error: unknown) => ({ what: "go", ok: false, fix: error instanceof Error ? error.message : String(error) }),
  );
  findings.push(go);
  for (const missing of await missingPrograms()) {
    findings.push({ what: missing.program, ok: true, fix: `not installed; npm run lab installs ${missing.package}` });
  }
  if (options.json) to.print(JSON.stringify(findings, null, 2));
  else for (const f of findings) to.print(`${f.ok ? "ok     " : "missing"}  ${f.what}${f.fix ? `: ${f.fix}` : ""}`);
  if (findings.some((f) => !f.ok)) process.exitCode = 1;
}
