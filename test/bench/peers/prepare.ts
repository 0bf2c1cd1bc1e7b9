import type { Gateway, PreparedGateway } from "./gateway.ts";

/** Installs what is missing; who cannot be had is left out, and the run says so. */
export async function prepareAll(
  wanted: readonly Gateway[],
  say: (line: string) => void,
): Promise<{ ready: PreparedGateway[]; absent: string[] }> {
  const ready: PreparedGateway[] = [];
  const absent: string[] = [];
  for (const gateway of wanted) {
    try {
      ready.push(await gateway.prepare(say));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      absent.push(`Without ${gateway.name}, which cannot be had here: ${why.split("\n")[0]}`);
      say(absent.at(-1) ?? "");
    }
  }
  return { ready, absent };
}
