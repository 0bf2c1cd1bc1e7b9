import * as grpc from "@grpc/grpc-js";
import engineGrpc from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import enginePb from "@pulumi/pulumi/proto/engine_pb.js";
import type { Log, LogLevel } from "./provider.ts";

/** Lines for the engine's output, each tied to a resource. */
export interface EngineLog {
  forResource: (urn: string) => Log;
  /** The engine may name another address after the start (Attach, Handshake). */
  connect(address: string): void;
  /** Resolves when every line was taken by the engine or has failed; call it before an answer that ends an operation. */
  flush(): Promise<void>;
  close(): void;
}

/** Logs over the engine's gRPC. Without an address, lines go to stderr. A lost line never fails an operation. */
export function createEngineLog(address: string | undefined): EngineLog {
  let client: InstanceType<typeof engineGrpc.EngineClient> | undefined;
  // One line after the other, or the engine may show them in another order.
  let sent: Promise<void> = Promise.resolve();
  const connect = (target: string): void => {
    client?.close();
    client = new engineGrpc.EngineClient(target, grpc.credentials.createInsecure());
  };
  if (address !== undefined && address !== "") connect(address);
  return {
    connect,
    forResource: (urn) => (level, text, options) => {
      const target = client;
      if (target === undefined) {
        process.stderr.write(`${level}: ${text}\n`);
        return;
      }
      const request = new enginePb.LogRequest();
      request.setSeverity(severityOf(level));
      request.setMessage(text);
      request.setUrn(urn);
      request.setEphemeral(options?.ephemeral ?? false);
      sent = sent.then(() => new Promise<void>((resolve) => void target.log(request, () => resolve())));
    },
    flush: () => sent,
    close() {
      client?.close();
    },
  };
}

function severityOf(level: LogLevel): 0 | 1 | 2 | 3 {
  switch (level) {
    case "debug":
      return enginePb.LogSeverity.DEBUG;
    case "info":
      return enginePb.LogSeverity.INFO;
    case "warning":
      return enginePb.LogSeverity.WARNING;
    case "error":
      return enginePb.LogSeverity.ERROR;
  }
}
