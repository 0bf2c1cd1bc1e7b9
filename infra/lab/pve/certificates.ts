import { X509Certificate, createPrivateKey } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { generate } from "selfsigned";
import { readIfPresent, writeFileAtomically } from "./atomic-file.ts";

/** Days that the lab's certificates are good for. */
const VALID_DAYS = 825;
/** A certificate is made anew when it ends within this time, ms. */
const RENEW_BEFORE_MS = 24 * 60 * 60 * 1000;

/** A host that gets a server certificate. */
export interface CertificateHost {
  /** File name, common name and DNS name. */
  name: string;
  /** IP addresses and DNS names that clients reach it by. */
  addresses: readonly string[];
}

/** A certificate and its key, PEM. */
export interface PemPair {
  certPem: string;
  keyPem: string;
}

/** The lab's certificates. */
export interface LabCertificates {
  /** PEM file of the CA, for `SSL_CERT_FILE`, absolute. */
  caFile: string;
  caPem: string;
  /** Host name to its pair. */
  servers: Record<string, PemPair>;
}

/**
 * Makes, or finds from before, a CA of the lab and a server certificate for each host. What is there and still good for the host's addresses is
 * kept, so that clients that trust the CA go on. Keys are readable by the owner alone.
 * @param directory made when missing
 */
export async function issueLabCertificates(
  directory: string,
  hosts: readonly CertificateHost[],
): Promise<LabCertificates> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const ca = await obtain(
    directory,
    "ca",
    (pair) => isFresh(pair.certPem) && new X509Certificate(pair.certPem).ca,
    makeAuthority,
  );
  const servers: Record<string, PemPair> = {};
  for (const host of hosts) {
    servers[host.name] = await obtain(
      directory,
      host.name,
      (pair) => isGoodFor(pair.certPem, ca.certPem, host),
      () => makeServer(host, ca),
    );
  }
  return { caFile: join(directory, "ca.pem"), caPem: ca.certPem, servers };
}

async function obtain(
  directory: string,
  name: string,
  isGood: (pair: PemPair) => boolean,
  make: () => Promise<PemPair>,
): Promise<PemPair> {
  const certFile = join(directory, `${name}.pem`);
  const keyFile = join(directory, `${name}.key`);
  const [certPem, keyPem] = await Promise.all([readIfPresent(certFile), readIfPresent(keyFile)]);
  if (certPem !== undefined && keyPem !== undefined) {
    const found = { certPem, keyPem };
    if (isUsable(found, isGood)) return found;
  }
  const pair = await make();
  await writeFileAtomically(keyFile, pair.keyPem, 0o600);
  await writeFileAtomically(certFile, pair.certPem, 0o644);
  return pair;
}

// Half a pair, or a file that somebody damaged, is made anew like one that never was.
function isUsable(pair: PemPair, isGood: (pair: PemPair) => boolean): boolean {
  try {
    const key = createPrivateKey(pair.keyPem);
    return new X509Certificate(pair.certPem).checkPrivateKey(key) && isGood(pair);
  } catch {
    return false;
  }
}

function isFresh(certPem: string): boolean {
  return Date.parse(new X509Certificate(certPem).validTo) - Date.now() > RENEW_BEFORE_MS;
}

function isGoodFor(certPem: string, caPem: string, host: CertificateHost): boolean {
  const certificate = new X509Certificate(certPem);
  const names = [host.name, ...host.addresses];
  const covered = names.every(
    (name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined,
  );
  return covered && isFresh(certPem) && certificate.verify(new X509Certificate(caPem).publicKey);
}

async function makeAuthority(): Promise<PemPair> {
  const made = await generate([{ name: "commonName", value: "gorkheavy lab CA" }], {
    ...common(),
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  return { certPem: made.cert, keyPem: made.private };
}

async function makeServer(host: CertificateHost, ca: PemPair): Promise<PemPair> {
  const altNames = [host.name, ...host.addresses].map((name) =>
    isIP(name) === 0 ? ({ type: 2, value: name } as const) : ({ type: 7, ip: name } as const),
  );
  const made = await generate([{ name: "commonName", value: host.name }], {
    ...common(),
    ca: { cert: ca.certPem, key: ca.keyPem },
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      { name: "subjectAltName", altNames },
    ],
  });
  return { certPem: made.cert, keyPem: made.private };
}

function common(): { keyType: "ec"; curve: "P-256"; algorithm: "sha256"; notAfterDate: Date } {
  return {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notAfterDate: new Date(Date.now() + VALID_DAYS * 24 * 60 * 60 * 1000),
  };
}
