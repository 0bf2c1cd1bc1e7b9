import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseKeyPair, renderKeygenCommand } from "../../../../infra/ssh/host-key.ts";
import { renderFirstContact, renderNodePrep, renderPreflight } from "../../../../infra/ssh/node-prep-script.ts";
import { PUT_FUNCTION, quote, renderProgram, renderPut, renderStep } from "../../../../infra/ssh/step-script.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gorkheavy-steps-"));
  mkdirSync(join(folder, "bin"));
  // Stands for a host where the user is already root: drops `-n` and runs the rest.
  writeFileSync(join(folder, "bin", "sudo"), '#!/bin/sh\nshift\nexec "$@"\n');
  chmodSync(join(folder, "bin", "sudo"), 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a step as sshd would: the login shell gets the command line, standard input the program. */
function run(
  script: string,
  options: { input?: string; deadlineSeconds?: number; undo?: string; part?: "run" | "undo" } = {},
): { status: number | null; stdout: string; stderr: string } {
  const { part = "run", deadlineSeconds = 20, input, undo } = options;
  const line = renderStep({ host: "k3s-worker-1", title: "install k3s", part, deadlineSeconds });
  return spawnSync("/bin/sh", ["-c", line], {
    input: renderProgram({ run: script, undo, input }),
    encoding: "utf8",
    env: { PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}` },
  });
}

test("hands standard input through and gives the output back", () => {
  expect(run(`read -r secret; echo "it's \${#secret} long"`, { input: "hush" })).toMatchObject({
    status: 0,
    stdout: "it's 4 long\n",
    stderr: "",
  });
});

test("a failure says host, step and exit status, after the script's own words", () => {
  const failed = run("echo 'no space left' >&2; exit 7");
  expect(failed.status).toBe(7);
  expect(failed.stderr).toMatch(/^no space left\nk3s-worker-1: install k3s: exit 7 after \d+ s\n$/);
});

test("a failing command in a pipe, or an unset name, ends the step", () => {
  expect(run("false | cat; echo on").stdout).toBe("");
  expect(run('echo "$nothing"; echo on').stdout).toBe("");
});

test("a script may read all of its input, and finds none when there is none", () => {
  expect(run("cat; echo on", { input: "it's\n$HOME" })).toMatchObject({ status: 0, stdout: "it's\n$HOME\non\n" });
  expect(run("cat; echo on")).toMatchObject({ status: 0, stdout: "on\n" });
});

test("the command line is short and holds nothing of the program", () => {
  const line = renderStep({ host: "k3s-worker-1", title: "install k3s", part: "run", deadlineSeconds: 600 });
  expect(line).toBe("exec sudo -n timeout -k 10 600 bash --norc -s run 'k3s-worker-1: install k3s' 600");
});

test("undoing runs the other part only", () => {
  expect(run("echo done", { undo: "echo undone", part: "undo" })).toMatchObject({ status: 0, stdout: "undone\n" });
  expect(run("echo done", { part: "undo" })).toMatchObject({ status: 0, stdout: "" });
});

test("the deadline ends the step and all that it started", () => {
  const late = run("sleep 30; echo on", { deadlineSeconds: 1 });
  expect(late.status).toBe(124);
  expect(late.stderr).toMatch(/k3s-worker-1: install k3s: not done within 1 s/);
});

test("put writes once, keeps the mode and says whether anything changed", () => {
  const path = join(folder, "etc", "a.conf");
  const content = "it's $HOME `and` \\ all\n\nend\n";
  const script = `${PUT_FUNCTION}\n${renderPut(path, "0600", content)}\necho "$changed"`;
  expect(run(script)).toMatchObject({ status: 0, stdout: "1\n" });
  expect(readFileSync(path, "utf8")).toBe(content);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(run(script)).toMatchObject({ status: 0, stdout: "0\n" });
  expect(() => renderPut(path, "0600", "a\nEND_OF_FILE\nb")).toThrow(/END_OF_FILE/);
});

test.each(["plain", "it's", "$(rm -rf /)", '"\n\\'])("quotes %j as one word", (text) => {
  expect(spawnSync("/bin/sh", ["-c", `printf %s ${quote(text)}`], { encoding: "utf8" }).stdout).toBe(text);
});

test("a made key pair fits together, and leaves nothing behind", (context) => {
  if (spawnSync("sh", ["-c", "command -v ssh-keygen"]).status !== 0) context.skip("ssh-keygen is not installed");
  const made = spawnSync("/bin/sh", ["-c", renderKeygenCommand("k3s-cluster-key")], {
    encoding: "utf8",
    env: { PATH: process.env["PATH"] ?? "", TMPDIR: folder },
  });
  const pair = parseKeyPair(made.stdout);
  expect(pair.publicKey).toMatch(/^ssh-ed25519 \S+ k3s-cluster-key$/);
  const file = join(folder, "key");
  writeFileSync(file, pair.privateKey, { mode: 0o600 });
  const derived = spawnSync("ssh-keygen", ["-y", "-f", file], { encoding: "utf8" }).stdout.trim();
  expect(pair.publicKey.startsWith(derived)).toBe(true);
  expect(spawnSync("sh", ["-c", `ls ${folder} | wc -l`], { encoding: "utf8" }).stdout.trim()).toBe("2");
});

test.each([
  "",
  "hush",
  "-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n-----END OPENSSH PRIVATE KEY-----\nssh-rsa AAAA\n",
])("refuses what is no key pair, without showing it", (text) => {
  expect(() => parseKeyPair(text)).toThrow(/not shown/);
  expect(() => parseKeyPair(text)).not.toThrow(/hush/);
});

const spec = {
  user: "gorkheavy",
  ports: [
    { port: 6443, protocol: "tcp" },
    { port: 8472, protocol: "udp" },
  ],
  clusterCidrs: ["10.42.0.0/16"],
  requireTimeSync: true,
} as const;

test.each([
  ["first contact", renderFirstContact()],
  ["preparation", renderNodePrep(spec)],
  ["preflight", renderPreflight(spec)],
  ["preflight without a clock", renderPreflight({ ...spec, requireTimeSync: false })],
])("%s is a bash script", (_, script) => {
  expect(spawnSync("bash", ["-n"], { input: script, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
});

test("the seed's rules are in the scripts", () => {
  const script = renderNodePrep(spec);
  expect(script).toContain("swapoff -a");
  expect(script).toContain("timedatectl set-ntp true");
  expect(script).toContain("PasswordAuthentication no");
  expect(script).toContain("gorkheavy ALL=(ALL) NOPASSWD:ALL");
  expect(script).toContain("ufw allow 6443/tcp");
  expect(script).toContain("ufw allow 8472/udp");
  expect(renderPreflight(spec)).toContain("NTPSynchronized");
  expect(renderPreflight({ ...spec, requireTimeSync: false })).not.toContain("NTPSynchronized");
});

test("a swap line in fstab is commented out, once", () => {
  const fstab = "UUID=1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n# /old none swap sw 0 0\n";
  const path = join(folder, "fstab");
  writeFileSync(path, fstab);
  const line =
    renderNodePrep(spec)
      .split("\n")
      .find((l) => l.includes("/etc/fstab")) ?? "";
  for (const pass of [1, 2]) {
    expect([pass, spawnSync("bash", ["-c", line.replaceAll("/etc/fstab", path)]).status]).toEqual([pass, 0]);
    expect(readFileSync(path, "utf8")).toBe(fstab.replace("/swap.img", "# /swap.img"));
  }
});
