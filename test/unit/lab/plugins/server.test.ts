import * as grpc from "@grpc/grpc-js";
import providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import providerPb from "@pulumi/pulumi/proto/provider_pb.js";
import statusPb from "@pulumi/pulumi/proto/status_pb.js";
import { afterEach, describe, expect, test } from "vitest";
import { PartialFailure, Secret } from "../../../../infra/lab/plugins/provider.ts";
import type { CreateCall, Properties, ProviderPlugin } from "../../../../infra/lab/plugins/provider.ts";
import { serveProvider } from "../../../../infra/lab/plugins/server.ts";
import type { ServedProvider } from "../../../../infra/lab/plugins/server.ts";
import { decodeProperties, encodeProperties } from "../../../../infra/lab/plugins/wire.ts";

const URN = "urn:pulumi:stack::project::parent:t:P$echo:index:Thing::my::thing";
let served: ServedProvider | undefined;
let client: InstanceType<typeof providerGrpc.ResourceProviderClient> | undefined;

afterEach(async () => {
  client?.close();
  await served?.close();
});

/** A plugin that refuses all that a test does not give. */
function pluginWith(methods: Partial<ProviderPlugin>): ProviderPlugin {
  const refuse = (): Promise<never> => Promise.reject(new Error("not stubbed"));
  return {
    name: "echo",
    version: "1.0.0",
    acceptsSecrets: true,
    jsonConfigKeys: ["nested"],
    configure: refuse,
    check: refuse,
    diff: refuse,
    create: refuse,
    read: refuse,
    update: refuse,
    delete: refuse,
    ...methods,
  };
}

async function serve(methods: Partial<ProviderPlugin>) {
  served = await serveProvider(pluginWith(methods));
  client = new providerGrpc.ResourceProviderClient(`127.0.0.1:${served.port}`, grpc.credentials.createInsecure());
  return client;
}

function createRequest(inputs: Properties, timeoutSeconds = 0): InstanceType<typeof providerPb.CreateRequest> {
  const request = new providerPb.CreateRequest();
  request.setUrn(URN);
  request.setProperties(encodeProperties(inputs));
  request.setTimeout(timeoutSeconds);
  return request;
}

describe("the provider protocol", () => {
  test("hands a create its type, name and secrets, and gives secrets back", async () => {
    let seen: CreateCall | undefined;
    const target = await serve({
      create: async (call) => {
        seen = call;
        return { id: "1", properties: call.inputs };
      },
    });
    const reply = await new Promise<Properties>((resolve, reject) => {
      target.create(createRequest({ token: new Secret("x") }), (error, response) =>
        error === null ? resolve(decodeProperties(response.getProperties())) : reject(error),
      );
    });
    expect(seen).toMatchObject({ type: "echo:index:Thing", name: "my::thing", inputs: { token: new Secret("x") } });
    expect(reply).toEqual({ token: new Secret("x") });
  });

  test("opens settings that came as JSON text, nested secrets included, and drops the engine's own", async () => {
    let seen: Properties | undefined;
    const target = await serve({
      configure: async (config) => {
        seen = config;
      },
    });
    const request = new providerPb.ConfigureRequest();
    request.setAcceptsecrets(true);
    const secret = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", value: "s" };
    request.setArgs(
      encodeProperties({ nested: JSON.stringify({ list: [1, secret] }), plain: '{"kept":"text"}', version: "1.0.0" }),
    );
    await new Promise<void>((resolve, reject) => {
      target.configure(request, (error) => (error === null ? resolve() : reject(error)));
    });
    expect(seen).toEqual({ nested: { list: [1, new Secret("s")] }, plain: '{"kept":"text"}' });
  });

  test("tells the engine what a half-made resource looks like", async () => {
    const target = await serve({
      create: () =>
        Promise.reject(new PartialFailure("not ready", { id: "7", properties: { a: 1 }, reasons: ["no endpoints"] })),
    });
    const error = await new Promise<grpc.ServiceError>((resolve) => {
      target.create(createRequest({}), (failure) => failure !== null && resolve(failure));
    });
    expect(error.details).toBe("not ready");
    const [packed] = error.metadata.get("grpc-status-details-bin");
    if (!Buffer.isBuffer(packed)) throw new Error("no details");
    const [detail] = statusPb.Status.deserializeBinary(packed).getDetailsList();
    const failed = providerPb.ErrorResourceInitFailed.deserializeBinary(detail?.getValue_asU8() ?? new Uint8Array());
    expect([failed.getId(), failed.getReasonsList(), decodeProperties(failed.getProperties())]).toEqual([
      "7",
      ["no endpoints"],
      { a: 1 },
    ]);
  });

  test.each(["timeout", "cancel"])("aborts what runs on %s", async (way) => {
    let reason: unknown;
    const started = Promise.withResolvers<undefined>();
    const target = await serve({
      create: ({ signal }) =>
        new Promise((_resolve, reject) => {
          started.resolve(undefined);
          signal.addEventListener("abort", () => {
            reason = signal.reason;
            reject(new Error("aborted"));
          });
        }),
    });
    const ended = new Promise<void>((resolve) => {
      target.create(createRequest({}, way === "timeout" ? 0.05 : 0), () => resolve());
    });
    await started.promise;
    if (way === "cancel") {
      const { emptyPb } = await import("../../../../infra/lab/plugins/protos.ts");
      target.cancel(new emptyPb.Empty(), () => undefined);
    }
    await ended;
    expect(String(reason)).toMatch(way === "timeout" ? /timed out after 0.05 s/ : /cancelled by the user/);
  });

  test("says of a resource that is gone that it is gone", async () => {
    const target = await serve({ read: () => Promise.resolve(undefined) });
    const request = new providerPb.ReadRequest();
    request.setUrn(URN);
    request.setId("1");
    const id = await new Promise<string>((resolve, reject) => {
      target.read(request, (error, response) => (error === null ? resolve(response.getId()) : reject(error)));
    });
    expect(id).toBe("");
  });
});
