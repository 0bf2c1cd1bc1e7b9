import { Fault } from "../../core/fault.ts";

/** What a client asks of a model that no backend here gives: each is refused in words, never ignored, as the answer would be another one than asked for. */

function refused(param: string, message: string): Fault {
  return new Fault("invalid_request", message, { param });
}

/** Tools, in Ollama's words: no template of these models is trusted to call them. @throws Fault invalid_request when there are any */
export function refuseTools(model: string, tools: unknown): void {
  if (Array.isArray(tools) && tools.length > 0) throw refused("tools", `tools: ${model} does not support tools`);
}

/** @throws Fault invalid_request for a message of a tool, or one that calls any */
export function refuseToolMessage(model: string, message: { role: string; tool_calls?: unknown }, at: number): void {
  const calls = Array.isArray(message.tool_calls) && message.tool_calls.length > 0;
  if (calls || message.role === "tool" || message.role === "function")
    throw refused(`messages.${at}`, `messages.${at}: ${model} does not support tools`);
}

/** @throws Fault invalid_request when there are any */
export function refuseImages(model: string, images: unknown, param = "images"): void {
  if (Array.isArray(images) && images.length > 0)
    throw refused(param, `${param}: ${model} does not support images; send text alone`);
}

/** @throws Fault invalid_request for anything but `undefined`, `null`, `false`, `""`, an empty list, or what is served anyway */
export function refuseUnserved(fields: Readonly<Record<string, unknown>>, why: string): void {
  for (const [param, value] of Object.entries(fields)) {
    const empty = Array.isArray(value)
      ? value.length === 0
      : typeof value === "object" && value !== null && Object.keys(value).length === 0;
    if (value === undefined || value === null || value === false || value === "" || empty) continue;
    throw refused(param, `${param}: ${why}`);
  }
}

/** @throws Fault invalid_request for more than one answer */
export function refuseMany(param: string, count: number | null | undefined): void {
  if ((count ?? 1) > 1) throw refused(param, `${param}: got ${count ?? 1}, want 1; ask once for each answer`);
}
