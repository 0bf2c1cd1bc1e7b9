// A server in a process of its own, to be killed: prints its port, then serves until it ends.
import { issueLabCertificates, createPve } from "../../../infra/lab/pve/index.ts";

const [dataDir = "", certificatesDir = "", token = ""] = process.argv.slice(2);
const certificates = await issueLabCertificates(certificatesDir, [{ name: "pve", addresses: ["127.0.0.1"] }]);
const tls = certificates.servers["pve"];
if (tls === undefined) throw new Error("no certificate");
const pve = await createPve({
  node: "pve",
  address: "127.0.0.1",
  port: 0,
  dataDir,
  machines: undefined,
  token,
  tls,
  log: () => undefined,
});
process.stdout.write(`${pve.port}\n`);
