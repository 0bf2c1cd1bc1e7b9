import * as grpc from "@grpc/grpc-js";
import type { Message } from "google-protobuf";
import type { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import pluginPb from "@pulumi/pulumi/proto/plugin_pb.js";
import type { PluginAttach } from "@pulumi/pulumi/proto/plugin_pb.js";
import providerPb from "@pulumi/pulumi/proto/provider_pb.js";
import type * as rpc from "@pulumi/pulumi/proto/provider_pb.js";
import { decodeConfig, encodeConfig } from "./config.ts";
import type { EngineLog } from "./engine-log.ts";
import { errorReply } from "./error-reply.ts";
import { emptyPb } from "./protos.ts";
import type { CheckFailure, DiffResult, PropertyDiffKind, ProviderPlugin, RunningCall } from "./provider.ts";
import { createRunningCalls } from "./running-calls.ts";
import { decodeProperties, encodeProperties } from "./wire.ts";

type Handler<Request, Reply extends Message> = (request: Request, closed: AbortSignal) => Promise<Reply>;

/** The engine's provider protocol for one plugin; `abortAll` ends every call that runs. */
export function createService(
  plugin: ProviderPlugin,
  engineLog: EngineLog,
): { handlers: grpc.UntypedServiceImplementation; abortAll: (reason: string) => void } {
  const running = createRunningCalls();
  // Secrets only go back to an engine that said that it takes them.
  let keepSecrets = true;

  const withCall = async <T>(
    request: { getUrn(): string; getType(): string; getName(): string },
    timeoutSeconds: number,
    closed: AbortSignal,
    work: (call: RunningCall) => Promise<T>,
  ): Promise<T> => {
    const timeoutMs = timeoutSeconds * 1000;
    const { signal, done } = running.start(timeoutMs, closed);
    try {
      return await work({
        ...identify(request),
        timeoutMs,
        signal,
        log: engineLog.forResource(request.getUrn()),
      });
    } finally {
      done();
      // Lines must not come after the operation's end, or the display drops them.
      await engineLog.flush();
    }
  };

  const handlers: grpc.UntypedServiceImplementation = {
    handshake: unary<rpc.ProviderHandshakeRequest, rpc.ProviderHandshakeResponse>(async (request) => {
      if (request.getEngineAddress() !== "") engineLog.connect(request.getEngineAddress());
      const reply = new providerPb.ProviderHandshakeResponse();
      reply.setAcceptSecrets(plugin.acceptsSecrets);
      reply.setAcceptResources(true);
      reply.setAcceptOutputs(false);
      reply.setSupportsAutonamingConfiguration(true);
      return reply;
    }),
    attach: unary<PluginAttach, Empty>(async (request) => {
      engineLog.connect(request.getAddress());
      return new emptyPb.Empty();
    }),
    getPluginInfo: unary(async () => {
      const reply = new pluginPb.PluginInfo();
      reply.setVersion(plugin.version);
      return reply;
    }),
    getSchema: unary<rpc.GetSchemaRequest, rpc.GetSchemaResponse>(async () => {
      const reply = new providerPb.GetSchemaResponse();
      reply.setSchema(JSON.stringify({ name: plugin.name, version: plugin.version }));
      return reply;
    }),
    getMapping: unary(async () => new providerPb.GetMappingResponse()),
    getMappings: unary(async () => new providerPb.GetMappingsResponse()),
    parameterize: unimplemented("Parameterize"),
    call: unimplemented("Call"),
    construct: unimplemented("Construct"),
    list: (call: grpc.ServerWritableStream<unknown, unknown>) => {
      call.emit("error", { code: grpc.status.UNIMPLEMENTED, details: `${plugin.name}: List is not implemented` });
    },

    checkConfig: unary<rpc.CheckRequest, rpc.CheckResponse>(async (request) => {
      const reply = new providerPb.CheckResponse();
      if (plugin.checkConfig === undefined) {
        reply.setInputs(request.getNews());
        return reply;
      }
      const { inputs, failures } = await plugin.checkConfig(decodeConfig(plugin, request.getNews()));
      reply.setInputs(encodeConfig(plugin, inputs, request.getNews()));
      reply.setFailuresList(failures.map(encodeFailure));
      return reply;
    }),
    diffConfig: unary<rpc.DiffRequest, rpc.DiffResponse>(async (request) => {
      if (plugin.diffConfig === undefined) return encodeDiff({ changes: false, replaces: [] });
      const olds = decodeConfig(plugin, request.getOldInputs() ?? request.getOlds());
      return encodeDiff(await plugin.diffConfig(olds, decodeConfig(plugin, request.getNews())));
    }),
    configure: unary<rpc.ConfigureRequest, rpc.ConfigureResponse>(async (request) => {
      keepSecrets = request.getAcceptsecrets();
      await plugin.configure(decodeConfig(plugin, request.getArgs()), {});
      const reply = new providerPb.ConfigureResponse();
      reply.setAcceptsecrets(plugin.acceptsSecrets);
      reply.setSupportspreview(true);
      reply.setAcceptresources(true);
      reply.setAcceptoutputs(false);
      reply.setSupportsAutonamingConfiguration(true);
      return reply;
    }),

    check: unary<rpc.CheckRequest, rpc.CheckResponse>(async (request) => {
      const naming = request.getAutonaming();
      const { inputs, failures } = await plugin.check({
        ...identify(request),
        olds: request.hasOlds() ? decodeProperties(request.getOlds()) : undefined,
        news: decodeProperties(request.getNews()),
        randomSeed: request.getRandomseed_asU8(),
        autonaming:
          naming === undefined
            ? undefined
            : { proposedName: naming.getProposedName(), mode: namingMode(naming.getMode()) },
      });
      const reply = new providerPb.CheckResponse();
      reply.setInputs(encodeProperties(inputs, keepSecrets));
      reply.setFailuresList(failures.map(encodeFailure));
      return reply;
    }),
    diff: unary<rpc.DiffRequest, rpc.DiffResponse>(async (request) =>
      encodeDiff(
        await plugin.diff({
          ...identify(request),
          id: request.getId(),
          olds: decodeProperties(request.getOlds()),
          oldInputs: decodeProperties(request.getOldInputs() ?? request.getOlds()),
          news: decodeProperties(request.getNews()),
          ignoreChanges: request.getIgnorechangesList(),
        }),
      ),
    ),
    create: unary<rpc.CreateRequest, rpc.CreateResponse>(async (request, closed) =>
      withCall(request, request.getTimeout(), closed, async (call) => {
        const { id, properties } = await plugin.create({
          ...call,
          inputs: decodeProperties(request.getProperties()),
          preview: request.getPreview(),
        });
        const reply = new providerPb.CreateResponse();
        reply.setId(id);
        reply.setProperties(encodeProperties(properties, keepSecrets));
        return reply;
      }),
    ),
    read: unary<rpc.ReadRequest, rpc.ReadResponse>(async (request, closed) =>
      withCall(request, request.getTimeout(), closed, async (call) => {
        const found = await plugin.read({
          ...call,
          id: request.getId(),
          inputs: request.hasInputs() ? decodeProperties(request.getInputs()) : undefined,
          properties: request.hasProperties() ? decodeProperties(request.getProperties()) : undefined,
        });
        const reply = new providerPb.ReadResponse();
        if (found === undefined) return reply;
        reply.setId(found.id);
        reply.setInputs(encodeProperties(found.inputs, keepSecrets));
        reply.setProperties(encodeProperties(found.properties, keepSecrets));
        return reply;
      }),
    ),
    update: unary<rpc.UpdateRequest, rpc.UpdateResponse>(async (request, closed) =>
      withCall(request, request.getTimeout(), closed, async (call) => {
        const { properties } = await plugin.update({
          ...call,
          id: request.getId(),
          olds: decodeProperties(request.getOlds()),
          oldInputs: decodeProperties(request.getOldInputs() ?? request.getOlds()),
          news: decodeProperties(request.getNews()),
          ignoreChanges: request.getIgnorechangesList(),
          preview: request.getPreview(),
        });
        const reply = new providerPb.UpdateResponse();
        reply.setProperties(encodeProperties(properties, keepSecrets));
        return reply;
      }),
    ),
    delete: unary<rpc.DeleteRequest, Empty>(async (request, closed) =>
      withCall(request, request.getTimeout(), closed, async (call) => {
        await plugin.delete({
          ...call,
          id: request.getId(),
          properties: decodeProperties(request.getProperties()),
          inputs: decodeProperties(request.getOldInputs()),
        });
        return new emptyPb.Empty();
      }),
    ),
    invoke: unary<rpc.InvokeRequest, rpc.InvokeResponse>(async (request, closed) => {
      const token = request.getTok();
      if (plugin.invoke === undefined) throw new Error(`unknown function ${token}: this plugin has no functions`);
      const { signal, done } = running.start(0, closed);
      try {
        const args = decodeProperties(request.getArgs());
        const { properties, failures } = await plugin.invoke({ token, args, preview: request.getPreview(), signal });
        const reply = new providerPb.InvokeResponse();
        reply.setReturn(encodeProperties(properties ?? {}, keepSecrets));
        reply.setFailuresList((failures ?? []).map(encodeFailure));
        return reply;
      } finally {
        done();
      }
    }),
    cancel: unary(async () => {
      running.abortAll("cancelled by the user");
      plugin.cancel?.();
      return new emptyPb.Empty();
    }),
  };

  /** Turns an async function into a gRPC handler; `closed` aborts when the engine hangs up. */
  function unary<Request, Reply extends Message>(
    handle: Handler<Request, Reply>,
  ): (call: grpc.ServerUnaryCall<Request, Reply>, callback: grpc.sendUnaryData<Reply>) => void {
    return (call, callback) => {
      const closed = new AbortController();
      call.on("cancelled", () => closed.abort(new Error("the engine has gone")));
      handle(call.request, closed.signal).then(
        (reply) => callback(null, reply),
        (error: unknown) => callback(errorReply(error, keepSecrets)),
      );
    };
  }

  function unimplemented(method: string): (call: unknown, callback: grpc.sendUnaryData<Message>) => void {
    return (_call, callback) =>
      callback({ code: grpc.status.UNIMPLEMENTED, details: `${plugin.name}: ${method} is not implemented` });
  }

  return { handlers, abortAll: running.abortAll };
}

/** Older engines send only the URN: `urn:pulumi:stack::project::parent$type::name`. */
function identify(request: { getUrn(): string; getType(): string; getName(): string }): {
  urn: string;
  type: string;
  name: string;
} {
  const urn = request.getUrn();
  const parts = urn.split("::");
  const type = request.getType() || (parts[2]?.split("$").at(-1) ?? "");
  return { urn, type, name: request.getName() || parts.slice(3).join("::") };
}

function namingMode(mode: rpc.CheckRequest.AutonamingOptions.Mode): "propose" | "enforce" | "disable" {
  const modes = providerPb.CheckRequest.AutonamingOptions.Mode;
  if (mode === modes.ENFORCE) return "enforce";
  return mode === modes.DISABLE ? "disable" : "propose";
}

function encodeFailure({ property, reason }: CheckFailure): rpc.CheckFailure {
  const failure = new providerPb.CheckFailure();
  failure.setProperty(property);
  failure.setReason(reason);
  return failure;
}

function encodeDiff(diff: DiffResult): rpc.DiffResponse {
  const reply = new providerPb.DiffResponse();
  const { DIFF_SOME, DIFF_NONE } = providerPb.DiffResponse.DiffChanges;
  reply.setChanges(diff.changes ? DIFF_SOME : DIFF_NONE);
  reply.setReplacesList(diff.replaces);
  reply.setDeletebeforereplace(diff.deleteBeforeReplace ?? false);
  if (diff.detailed !== undefined) {
    reply.setHasdetaileddiff(true);
    reply.setDiffsList([...new Set(Object.keys(diff.detailed).map((path) => /^[^.[]+/.exec(path)?.[0] ?? path))]);
    for (const [path, kind] of Object.entries(diff.detailed)) {
      const detail = new providerPb.PropertyDiff();
      detail.setKind(diffKind(kind));
      detail.setInputdiff(true);
      reply.getDetaileddiffMap().set(path, detail);
    }
  }
  return reply;
}

function diffKind(kind: PropertyDiffKind): rpc.PropertyDiff.Kind {
  const kinds = providerPb.PropertyDiff.Kind;
  switch (kind) {
    case "add":
      return kinds.ADD;
    case "add-replace":
      return kinds.ADD_REPLACE;
    case "delete":
      return kinds.DELETE;
    case "delete-replace":
      return kinds.DELETE_REPLACE;
    case "update":
      return kinds.UPDATE;
    case "update-replace":
      return kinds.UPDATE_REPLACE;
  }
}
