import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  K3sSettingsSchema,
  renderAgentConfig,
  renderAuditPolicy,
  renderPodSecurity,
  renderServerConfig,
} from "../../../../infra/k3s/config.ts";
import { parseCredentials, renderKubeconfig } from "../../../../infra/k3s/kubeconfig.ts";
import { FETCH_FUNCTIONS, K3sReleaseSchema, releaseFolder, renderInstall } from "../../../../infra/k3s/release.ts";
import {
  renderAgentService,
  renderLeave,
  renderMembership,
  renderServerService,
} from "../../../../infra/k3s/service-script.ts";
import { renderKillAll, renderUninstall, renderUnit } from "../../../../infra/k3s/units.ts";

const node = { name: "k3s-worker-1", address: "192.168.1.202", labels: ["disk=ssd"], taints: [] };
const settings = K3sSettingsSchema.parse({});
const release = K3sReleaseSchema.parse({});
const digest = (text: string | Buffer): string => createHash("sha256").update(text).digest("hex");

describe("config.yaml", () => {
  test("of the server has the seed's networks and the hardening guide's settings", () => {
    const config: unknown = parse(
      renderServerConfig({ ...node, name: "k3s-master", address: "192.168.1.201", labels: [] }, settings),
    );
    expect(config).toMatchObject({
      "node-name": "k3s-master",
      "node-ip": "192.168.1.201",
      "cluster-cidr": "10.42.0.0/16",
      "service-cidr": "10.43.0.0/16",
      "cluster-dns": "10.43.0.10",
      "flannel-backend": "vxlan",
      "tls-san": ["192.168.1.201", "k3s-master"],
      "write-kubeconfig-mode": "0600",
      "secrets-encryption": true,
      "protect-kernel-defaults": true,
    });
    expect(config).toHaveProperty(
      "kube-apiserver-arg",
      expect.arrayContaining([
        "admission-control-config-file=/var/lib/rancher/k3s/server/psa.yaml",
        "audit-policy-file=/var/lib/rancher/k3s/server/audit.yaml",
        "audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log",
      ]),
    );
  });

  test("of an agent holds no token, only where it is", () => {
    expect(parse(renderAgentConfig(node, settings, "192.168.1.201"))).toEqual({
      server: "https://192.168.1.201:6443",
      "token-file": "/etc/rancher/k3s/token",
      "node-name": "k3s-worker-1",
      "node-ip": "192.168.1.202",
      "node-label": ["disk=ssd"],
      "protect-kernel-defaults": true,
      "kubelet-arg": expect.arrayContaining(["streaming-connection-idle-timeout=5m"]) as unknown,
    });
  });

  test("without hardening is as short as the seed's", () => {
    const plain = K3sSettingsSchema.parse({ hardened: false, disable: ["traefik"] });
    const config: unknown = parse(renderServerConfig(node, plain));
    expect(config).toHaveProperty("disable", ["traefik"]);
    expect(config).not.toHaveProperty("secrets-encryption");
    expect(renderServerService(node, plain, release.version)).not.toContain("psa.yaml");
  });

  test("audit and Pod Security", () => {
    expect(parse(renderAuditPolicy())).toEqual({
      apiVersion: "audit.k8s.io/v1",
      kind: "Policy",
      rules: [{ level: "Metadata" }],
    });
    expect(parse(renderPodSecurity(settings))).toMatchObject({
      kind: "AdmissionConfiguration",
      plugins: [
        {
          name: "PodSecurity",
          configuration: { defaults: { enforce: "restricted" }, exemptions: { namespaces: ["kube-system"] } },
        },
      ],
    });
  });
});

describe("release", () => {
  test("is one exact version, its plus sign encoded", () => {
    expect(releaseFolder(release)).toBe("https://github.com/k3s-io/k3s/releases/download/v1.34.2%2Bk3s1");
    expect(releaseFolder({ ...release, releaseUrl: "http://192.168.1.1:8480/" })).toBe(
      "http://192.168.1.1:8480/v1.34.2%2Bk3s1",
    );
  });

  test.each([
    ["version", { version: "stable" }, /want a full version such as v1\.34\.2\+k3s1/],
    ["version without k3s", { version: "v1.34.2" }, /full version/],
    ["releaseUrl", { releaseUrl: "ftp://x/" }, /http or https/],
    ["sha256", { sha256: "ABC" }, /64 hexadecimal digits/],
    ["airgapImages", { airgapImages: [{ url: "http://x/a.tar", sha256: "1" }] }, /64 hexadecimal/],
    ["a typing error", { verison: "v1.34.2+k3s1" }, /verison/],
  ])("refuses a wrong %s", (_, args, message) => {
    const parsed = K3sReleaseSchema.safeParse(args);
    expect(parsed.success ? "" : parsed.error.message).toMatch(message);
  });
});

test.each([
  ["install", renderInstall({ ...release, airgapImages: [{ url: "http://x/it's.tar?a=1", sha256: digest("a") }] })],
  ["server", renderServerService(node, settings, release.version)],
  ["agent", renderAgentService(node, settings, "192.168.1.201", release.version)],
  ["membership", renderMembership("k3s-worker-1")],
  ["leave", renderLeave("k3s-worker-1")],
  ["kill all", renderKillAll()],
  ["uninstall", renderUninstall()],
])("%s is a bash script", (_, script) => {
  expect(spawnSync("bash", ["-n"], { input: script, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
});

test("units are K3s' own", () => {
  expect(renderUnit("server")).toContain("ExecStart=/usr/local/bin/k3s \\\n    server\n");
  expect(renderUnit("agent")).toContain("EnvironmentFile=-/etc/systemd/system/k3s-agent.service.env");
  expect(renderUnit("agent")).toContain("Type=notify");
});

describe("fetch", () => {
  const content = Buffer.alloc(200_000, "gorkheavy ");
  let folder = "";
  let requests: (string | undefined)[] = [];
  let url = "";
  let resumable = true;
  const server = createServer((request, response) => {
    const range = request.headers.range;
    requests.push(range);
    const from = Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    if (!resumable || from === 0) response.writeHead(200).end(content);
    else if (from >= content.length) response.writeHead(416).end();
    else {
      response.writeHead(206, { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` });
      response.end(content.subarray(from));
    }
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "gorkheavy-fetch-"));
    requests = [];
    resumable = true;
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/k3s`;
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true, force: true });
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });

  const fetchTo = async (file: string, want: string): Promise<{ code: number; stderr: string }> => {
    const script = `set -euo pipefail\n${FETCH_FUNCTIONS}\nfetch ${url} ${file} ${want} 0755`;
    try {
      const { stderr } = await promisify(execFile)("bash", ["-c", script]);
      return { code: 0, stderr };
    } catch (error) {
      if (error instanceof Error && "stderr" in error) return { code: 1, stderr: String(error.stderr) };
      throw error;
    }
  };

  test("brings the file, and nothing when it is there", async () => {
    const file = join(folder, "k3s");
    expect(await fetchTo(file, digest(content))).toMatchObject({ code: 0 });
    expect(Buffer.compare(readFileSync(file), content)).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o755);
    await fetchTo(file, digest(content));
    expect(requests).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(["k3s"]);
  });

  test("goes on where it broke off", async () => {
    writeFileSync(join(folder, `.${digest(content)}.part`), content.subarray(0, 150_000));
    expect(await fetchTo(join(folder, "k3s"), digest(content))).toMatchObject({ code: 0 });
    expect(requests).toEqual(["bytes=150000-"]);
  });

  test("starts again after a wrong beginning", async () => {
    writeFileSync(join(folder, `.${digest(content)}.part`), "wrong");
    expect(await fetchTo(join(folder, "k3s"), digest(content))).toMatchObject({ code: 0 });
    expect(requests).toEqual(["bytes=5-", undefined]);
  });

  test("a whole part that never got its name is taken", async () => {
    writeFileSync(join(folder, `.${digest(content)}.part`), content);
    expect(await fetchTo(join(folder, "k3s"), digest(content))).toMatchObject({ code: 0 });
    expect(existsSync(join(folder, "k3s"))).toBe(true);
  });

  test("never leaves a wrong file under its name", async () => {
    const failed = await fetchTo(join(folder, "k3s"), digest("another"));
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(
      /has the SHA-256 [0-9a-f]{64}, want [0-9a-f]{64}; check the address and the checksum/,
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("kubeconfig", () => {
  const local = `apiVersion: v1
clusters:
- cluster: {certificate-authority-data: Q0E=, server: https://127.0.0.1:6443}
  name: default
contexts:
- context: {cluster: default, user: default}
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
`;
  const token = `K10${"a".repeat(64)}::server:hush`;

  test("gets the server's address and the cluster's name", () => {
    expect(parse(renderKubeconfig(local, "k3s", "192.168.1.201"))).toEqual({
      apiVersion: "v1",
      kind: "Config",
      preferences: {},
      clusters: [
        { name: "k3s", cluster: { "certificate-authority-data": "Q0E=", server: "https://192.168.1.201:6443" } },
      ],
      users: [{ name: "k3s-admin", user: { "client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ" } }],
      contexts: [{ name: "k3s", context: { cluster: "k3s", user: "k3s-admin" } }],
      "current-context": "k3s",
    });
  });

  test("comes after the token", () => {
    expect(parseCredentials(`${token}\n---8<---\n${local}`)).toEqual({ token, kubeconfig: local });
  });

  test.each([
    "",
    "hush",
    `K10short::server:hush\n---8<---\n${local}`,
    token,
  ])("refuses other text without showing it", (text) => {
    expect(() => parseCredentials(text)).toThrow(/not shown/);
    expect(() => parseCredentials(text)).not.toThrow(/hush/);
  });

  test("of another form is refused", () => {
    expect(() => renderKubeconfig("kind: Config\nclusters: []\n", "k3s", "1.2.3.4")).toThrow(/not as K3s writes it/);
  });
});
