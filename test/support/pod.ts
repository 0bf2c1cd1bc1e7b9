// A pod: a model server as a process of its own, so that it can be killed and stopped. Arguments: address, port, ms before the first word.
import { createServer } from "node:http";

const [host = "127.0.0.1", port = "0", waitMs = "0"] = process.argv.slice(2);

createServer((request, response) => {
  if (request.method === "GET") return void response.end(JSON.stringify({ models: [{ name: "m" }] }));
  request.resume().on("end", () => {
    setTimeout(() => {
      const line = (content: string, done: boolean): string =>
        `${JSON.stringify({ model: "m", created_at: "", message: { role: "assistant", content }, done })}\n`;
      response.end(line(`An answer from ${host}.`, false) + line("", true));
    }, Number(waitMs));
  });
}).listen(Number(port), host, () => process.stdout.write("listening\n"));
