import { ApiError } from "../api-error.ts";
import type { Lab } from "../lab.ts";

/** @throws ApiError 500 unless the request names the one node that is served (Proxmox would try to pass it on) */
export function assertNode(lab: Lab, node: string): void {
  if (node !== lab.node && node !== "localhost")
    throw new ApiError(
      500,
      `hostname lookup '${node}' failed - failed to get address info for: ${node}: Name or service not known`,
    );
}
