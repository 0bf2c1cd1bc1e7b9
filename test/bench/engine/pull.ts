import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { execa } from "execa";
import { stringify } from "yaml";
import { ensurePrograms } from "../../../infra/lab/tools/packages.ts";
import { integer } from "../../../runtime/support/options.ts";
import { ggufOf } from "../../support/gguf-bytes.ts";
import { figure, percentile, table } from "../machine.ts";
import { freePort } from "../peers/gateway.ts";
import { writeResults } from "../results.ts";

const PROGRAM = join(resolve(import.meta.dirname, "../../.."), "runtime/main.ts");
const MIB = 1_048_576;
/** Part of the file that is made at a time. */
const PART_BYTES = 16 * MIB;
/** Chunk of the store as people have it. Source: `chunkBytes` of runtime/contracts/model-store-config.ts. */
const CHUNK_BYTES = 64 * MIB;

interface Flags {
  mib: number;
  rounds: number;
  kills: number;
  write: boolean;
}

/** `pull`: how fast weights come from a registry. */
export function pullBench(): Command {
  return new Command("pull")
    .description("bring weights from a registry on this machine, killed and not, beside curl and sha256sum")
    .option("--mib <number>", "size of the weights, MiB", integer("mib", 16, 65_536), 1_024)
    .option("--rounds <number>", "times that each is measured; the medians count", integer("rounds", 1, 100), 5)
    .option("--kills <number>", "kill -9 of the pull that is killed", integer("kills", 0, 1_000), 20)
    .option("--write", "put the table into test/bench/RESULTS.md", false)
    .action(async (flags: Flags) => {
      await run(flags);
    });
}

async function run({ mib, rounds, kills, write }: Flags): Promise<void> {
  await ensurePrograms({
    programs: [
      { program: "nginx", package: "nginx-light", for: "the registry of the pull benchmark" },
      { program: "curl", package: "curl", for: "the peer of the pull benchmark" },
    ],
    install: process.getuid?.() === 0,
    report: (line) => void process.stdout.write(`${line}\n`),
  });
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-pull-"));
  const server = await startRegistry(work, mib);
  try {
    const pull = async (store: string): Promise<void> => {
      await execa(process.execPath, puller(work, store));
    };
    const curl = async (): Promise<void> => {
      const { stdout } = await execa("sh", ["-c", `curl -sf ${server.blobUrl} | sha256sum`]);
      if (!stdout.startsWith(server.hex)) throw new Error(`curl brought other bytes: ${stdout}`);
    };
    // Each in turn, so that a busy moment of the machine meets both.
    const seconds = { pull: [] as number[], curl: [] as number[], killed: [] as number[] };
    let again = 0;
    await curl();
    for (let round = 0; round < rounds; round++) {
      seconds.curl.push(await timed(curl));
      const store = join(work, "store");
      seconds.pull.push(await timed(() => pull(store)));
      await rm(store, { recursive: true });
    }
    if (kills > 0) {
      const before = await server.servedBytes();
      seconds.killed.push(await killed(work, kills, mib, server));
      again = (await server.servedBytes()) - before - server.bytes;
    }
    const rate = (values: readonly number[]): number => mib / percentile(values, 50);
    const ratio = rate(seconds.pull) / rate(seconds.curl);
    const rows = [
      [
        "curl \\| sha256sum, nothing kept",
        figure(percentile(seconds.curl, 50), 2),
        figure(rate(seconds.curl)),
        "1.00",
        "-",
      ],
      [
        "gorkheavy models pull, with its start",
        figure(percentile(seconds.pull, 50), 2),
        figure(rate(seconds.pull)),
        figure(ratio, 2),
        "0",
      ],
      ...(kills === 0
        ? []
        : [
            [
              `gorkheavy models pull, killed ${kills} times`,
              figure(seconds.killed[0], 2),
              figure(rate(seconds.killed)),
              figure(rate(seconds.killed) / rate(seconds.curl), 2),
              `${figure(again / MIB)} MiB, ${figure(again / CHUNK_BYTES, 2)} chunks of 64 MiB`,
            ],
          ]),
    ];
    const head = ["who", "s", "MiB/s", "of curl's speed", "fetched again"];
    const body = `${mib} MiB from nginx on loopback as the registry; medians of ${rounds} rounds, each in turn. The pull writes the file, syncs it and checks its header; curl keeps nothing. The killed pull is one that is killed with SIGKILL ${kills} times at even distances and begun again each time, all starts counted.\n\n${table(head, rows)}\n\nAim: at least 0.9 of curl's speed, at most one chunk fetched again.`;
    process.stdout.write(`\n${body}\n`);
    if (write)
      await writeResults(
        "Pulling a model",
        `npm run bench -- pull --mib ${mib} --rounds ${rounds} --kills ${kills}`,
        body,
      );
  } finally {
    await server.close();
    await rm(work, { recursive: true, force: true });
  }
}

function puller(work: string, store: string): string[] {
  return [PROGRAM, "models", "pull", "tiny:1b", "--store", store, "--config", join(work, "engine.yaml")];
}

async function timed(act: () => Promise<void>): Promise<number> {
  const beganMs = performance.now();
  await act();
  return (performance.now() - beganMs) / 1000;
}

/** One pull that is killed at even distances. @returns seconds from its first start to its end */
async function killed(work: string, kills: number, mib: number, server: LocalRegistry): Promise<number> {
  const store = join(work, "killed");
  const partial = join(store, "blobs", `sha256-${server.hex}.partial`);
  const seconds = await timed(async () => {
    for (let kill = 1; kill <= kills; kill++) {
      const at = Math.floor((mib * MIB * kill) / (kills + 1));
      const child = execa(process.execPath, puller(work, store), { reject: false });
      let isOver = false;
      void child.then(() => (isOver = true));
      while (!isOver && ((await stat(partial).catch(() => undefined))?.size ?? 0) < at)
        await new Promise((r) => setTimeout(r, 1));
      child.kill("SIGKILL");
      const { signal, stderr } = await child;
      if (signal !== "SIGKILL") throw new Error(`kill ${kill} came too late: ${stderr}`);
    }
    await execa(process.execPath, puller(work, store));
  });
  await rm(store, { recursive: true });
  return seconds;
}

interface LocalRegistry {
  hex: string;
  bytes: number;
  blobUrl: string;
  /** Bytes of blobs that nginx has sent. */
  servedBytes(): Promise<number>;
  close(): Promise<void>;
}

/** A registry of files: a manifest and one blob, served by nginx. */
async function startRegistry(work: string, mib: number): Promise<LocalRegistry> {
  const root = join(work, "root/v2/library/tiny");
  await mkdir(join(root, "manifests"), { recursive: true });
  await mkdir(join(root, "blobs"), { recursive: true });
  const { hex, bytes } = await writeWeights(join(root, "blobs"), mib);
  const manifest = {
    schemaVersion: 2,
    config: { mediaType: "application/vnd.docker.container.image.v1+json", digest: `sha256:${hex}`, size: bytes },
    layers: [{ mediaType: "application/vnd.ollama.image.model", digest: `sha256:${hex}`, size: bytes }],
  };
  await writeFile(join(root, "manifests/1b"), JSON.stringify(manifest));
  const port = await freePort();
  const log = join(work, "access.log");
  await writeFile(
    join(work, "engine.yaml"),
    stringify({ store: { registry: `127.0.0.1:${port}`, chunkBytes: CHUNK_BYTES } }),
  );
  const config = join(work, "nginx.conf");
  await writeFile(config, nginxConfig(work, port, log));
  const child = execa("nginx", ["-c", config], { reject: false, stderr: "inherit" });
  const blobUrl = `http://127.0.0.1:${port}/v2/library/tiny/blobs/sha256:${hex}`;
  for (let tries = 0; ; tries++) {
    const isUp = await fetch(`http://127.0.0.1:${port}/v2/library/tiny/manifests/1b`).then(
      (r) => r.ok,
      () => false,
    );
    if (isUp) break;
    if (tries > 200) throw new Error("nginx does not listen");
    await new Promise((r) => setTimeout(r, 50));
  }
  return {
    hex,
    bytes,
    blobUrl,
    servedBytes: async () => {
      const { stdout } = await execa("awk", ['$1 ~ /blobs/ { sum += $2 } END { printf "%.0f", sum }', log]);
      return Number(stdout);
    },
    close: async () => {
      child.kill("SIGTERM");
      await child;
    },
  };
}

/** A GGUF file of one large tensor, made in parts; its digest is taken on the way. */
async function writeWeights(folder: string, mib: number): Promise<{ hex: string; bytes: number }> {
  const rows = (mib * MIB) / 128;
  const small = ggufOf(128);
  // The header of a file with as many rows: the second length of its one tensor.
  const header = Buffer.from(small.subarray(0, small.length - 128));
  const at = header.lastIndexOf(Buffer.from([32, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
  header.writeBigUInt64LE(BigInt(rows), at + 8);
  const hash = createHash("sha256").update(header);
  const unnamed = join(folder, "unnamed");
  const out = createWriteStream(unnamed);
  out.write(header);
  for (let done = 0; done < mib * MIB; done += PART_BYTES) {
    const part = Buffer.alloc(Math.min(PART_BYTES, mib * MIB - done));
    for (let one = 0; one < part.length; one += 4096) part.writeUInt32LE(done + one, one);
    hash.update(part);
    if (!out.write(part)) await new Promise<void>((done) => out.once("drain", () => done()));
  }
  await new Promise<void>((done) => out.end(() => done()));
  const hex = hash.digest("hex");
  await execa("mv", [unnamed, join(folder, `sha256:${hex}`)]);
  return { hex, bytes: header.length + mib * MIB };
}

function nginxConfig(work: string, port: number, log: string): string {
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `  ${name}_temp_path ${join(work, name)};`,
  );
  return [
    "daemon off;",
    `pid ${join(work, "nginx.pid")};`,
    "error_log stderr error;",
    "worker_processes 1;",
    ...(process.getuid?.() === 0 ? ["user root;"] : []),
    "events { worker_connections 256; }",
    "http {",
    '  log_format bytes "$uri $body_bytes_sent";',
    `  access_log ${log} bytes;`,
    ...temp,
    "  sendfile on;",
    "  default_type application/octet-stream;",
    `  server { listen 127.0.0.1:${port}; root ${join(work, "root")}; }`,
    "}",
    "",
  ].join("\n");
}
