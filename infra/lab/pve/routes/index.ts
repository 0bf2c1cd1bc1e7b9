import type { Endpoint } from "../http/endpoint.ts";
import { accessEndpoints } from "./access.ts";
import { clusterEndpoints } from "./cluster.ts";
import { firewallEndpoints } from "./firewall.ts";
import { nodeEndpoints } from "./nodes.ts";
import { poolEndpoints } from "./pools.ts";
import { configEndpoints } from "./qemu-config.ts";
import { diskEndpoints } from "./qemu-disks.ts";
import { qemuEndpoints } from "./qemu.ts";
import { powerEndpoints } from "./qemu-power.ts";
import { storageEndpoints } from "./storage.ts";
import { taskEndpoints } from "./tasks.ts";

/** Every endpoint that the lab serves; the only list there is of them. */
export const ENDPOINTS: readonly Endpoint[] = [
  ...accessEndpoints,
  ...clusterEndpoints,
  ...nodeEndpoints,
  ...poolEndpoints,
  ...storageEndpoints,
  ...taskEndpoints,
  ...qemuEndpoints,
  ...configEndpoints,
  ...diskEndpoints,
  ...powerEndpoints,
  ...firewallEndpoints,
];

/** The endpoints as Markdown table rows, for the documentation. */
export function renderEndpointTable(endpoints: readonly Endpoint[] = ENDPOINTS): string {
  const rows = endpoints.map(({ method, path, summary, parameterNames, takesVmOptions }) => {
    const own = parameterNames.filter((name) => !path.includes(`{${name}}`)).map((name) => `\`${name}\``);
    if (takesVmOptions) own.push("every VM option");
    return `| ${method} | \`${path}\` | ${summary} | ${own.join(", ")} |`;
  });
  return ["| method | path | what it does | parameters |", "| --- | --- | --- | --- |", ...rows].join("\n");
}
