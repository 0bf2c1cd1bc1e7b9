import * as grpc from "@grpc/grpc-js";
import providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import { createEngineLog } from "./engine-log.ts";
import type { ProviderPlugin } from "./provider.ts";
import { createService } from "./service.ts";

/** A plugin that listens. */
export interface ServedProvider {
  /** Port on 127.0.0.1. */
  port: number;
  /** Aborts what runs and stops listening. */
  close(): Promise<void>;
}

/** The engine's own limit: 400 MiB a message. Source: sdk/go/common/util/rpcutil/serve.go, v3.250.0. */
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

/** Serves one provider to the Pulumi engine on a free port of 127.0.0.1; `engineAddress` is where its log lines go. */
export async function serveProvider(plugin: ProviderPlugin, engineAddress?: string): Promise<ServedProvider> {
  const engineLog = createEngineLog(engineAddress);
  const server = new grpc.Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  });
  const { handlers, abortAll } = createService(plugin, engineLog);
  server.addService(providerGrpc.ResourceProviderService, handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return {
    port,
    async close() {
      abortAll("the plugin is closing");
      server.forceShutdown();
      engineLog.close();
      await Promise.resolve();
    },
  };
}

/**
 * The whole life of a plugin process: serves, prints the port on stdout as the engine expects, and ends with the
 * engine. The engine passes its address as the last argument, after flags such as `--logtostderr`.
 */
export async function runPlugin(plugin: ProviderPlugin): Promise<void> {
  const engine = process.ppid;
  const engineAddress = process.argv.slice(2).findLast((argument) => !argument.startsWith("-"));
  const served = await serveProvider(plugin, engineAddress);
  const end = (): void => {
    void served.close().finally(() => process.exit(0));
  };
  // The engine starts plugins in a process group of their own and ends them by SIGINT; it waits 5 s before it kills.
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  process.on("unhandledRejection", (reason) => {
    process.stderr.write(
      `${plugin.name}: ${reason instanceof Error ? (reason.stack ?? reason.message) : "rejected"}\n`,
    );
    process.exit(1);
  });
  endWithParent(engine, end);
  process.stdout.write(`${served.port}\n`);
}

/** An engine killed by SIGKILL cannot tell its plugins, so a plugin looks for its parent itself. */
function endWithParent(parent: number, end: () => void): void {
  setInterval(() => {
    if (process.ppid !== parent) end();
  }, 500).unref();
}
