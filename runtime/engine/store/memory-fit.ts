import { Fault } from "../../core/fault.ts";

/**
 * Refuses a model whose weights alone are larger than the memory.
 * @param what its name @param limitBytes what it may use
 * @throws Fault model_too_large with both figures
 */
export function requireFits(what: string, neededBytes: number, limitBytes: number): void {
  if (neededBytes <= limitBytes) return;
  throw new Fault(
    "model_too_large",
    `${what} needs at least ${mib(neededBytes)} MiB of memory, ${mib(limitBytes)} MiB may be used; raise the memory limit, or take a smaller quantization`,
  );
}

function mib(bytes: number): string {
  return (bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0);
}
