// The peers: what one would write without us. `node relay.ts ws|echo|socketio PORT UPSTREAM`. Each asks the same source for a stream and passes its tokens on.
import { Agent, createServer, request } from "node:http";
import { Server } from "socket.io";
import { WebSocketServer } from "ws";

const [, , kind, port, upstream = ""] = process.argv;
const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const question = JSON.stringify({ model: "mock", messages: [{ role: "user", content: "Go." }], stream: true });

/** Asks for one stream. @returns stops it */
function relay(token: (text: string) => void): () => void {
  const asked = request(`${upstream}/v1/chat/completions`, {
    agent,
    method: "POST",
    headers: { "content-type": "application/json", "content-length": question.length },
  });
  asked.on("response", (response) => {
    let rest = "";
    response.setEncoding("utf8");
    response.on("data", (part: string) => {
      const lines = (rest + part).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (!line.startsWith("data: {")) continue;
        const { choices } = JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[] };
        const text = choices[0]?.delta.content;
        if (text !== undefined) token(text);
      }
    });
    response.on("error", () => undefined);
  });
  asked.on("error", () => undefined);
  asked.end(question);
  return () => asked.destroy();
}

const server = createServer((_, response) => response.end("ok"));
if (kind === "socketio") {
  const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false });
  io.on("connection", (socket) => {
    socket.on("go", () => {
      const stop = relay((text) => socket.emit("token", text));
      socket.on("disconnect", stop);
    });
  });
} else {
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on("connection", (socket) => {
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer, binary) => {
      if (kind === "echo") socket.send(data, { binary });
      else {
        const stop = relay((text) => socket.send(text));
        socket.on("close", stop);
      }
    });
  });
}
server.listen(Number(port), "127.0.0.1", 4_096);
