import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { ensurePrograms } from "../../../infra/lab/tools/packages.ts";
import { freePort, type Gateway, type GatewayOptions, startPinned } from "./gateway.ts";

/** nginx as a plain reverse proxy: what a hop costs that looks at nothing. */
export const nginx: Gateway = {
  name: "nginx",
  async prepare(report) {
    await ensurePrograms({
      programs: [{ program: "nginx", package: "nginx-light", for: "the floor of the gateway benchmark" }],
      install: process.getuid?.() === 0,
      report,
    });
    const { stderr } = await execa("nginx", ["-v"]);
    const name = `nginx ${/nginx\/(\S+)/.exec(stderr)?.[1] ?? "of unknown version"}`;
    return {
      name,
      async start(options) {
        const port = await freePort();
        const file = join(options.work, "nginx.conf");
        await writeFile(file, nginxConfig(port, options));
        return startPinned({ name, url: `http://127.0.0.1:${port}` }, options, ["nginx", "-c", file]);
      },
    };
  },
};

/** One worker, connections to the upstream kept, nothing buffered on disk: nginx at its cheapest. */
function nginxConfig(port: number, { upstreams, work, timeoutMs }: GatewayOptions): string {
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${join(work, name)};`,
  );
  const servers = upstreams.map((url, index) => `    server ${new URL(url).host}${index === 0 ? "" : " backup"};`);
  return [
    "daemon off;",
    `pid ${join(work, "nginx.pid")};`,
    "error_log stderr error;",
    "worker_processes 1;",
    "events { worker_connections 4096; }",
    "http {",
    "  access_log off;",
    ...temp,
    "  upstream models {",
    ...servers,
    "    keepalive 512;",
    "  }",
    "  server {",
    `    listen 127.0.0.1:${port} backlog=1024;`,
    "    keepalive_requests 1000000000;",
    "    client_max_body_size 16m;",
    "    client_body_buffer_size 512k;",
    "    location / {",
    "      proxy_pass http://models;",
    "      proxy_http_version 1.1;",
    '      proxy_set_header Connection "";',
    "      proxy_buffering off;",
    ...(timeoutMs === undefined ? [] : [`      proxy_read_timeout ${timeoutMs}ms;`]),
    "    }",
    "  }",
    "}",
    "",
  ].join("\n");
}
