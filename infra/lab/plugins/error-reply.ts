import * as grpc from "@grpc/grpc-js";
import providerPb from "@pulumi/pulumi/proto/provider_pb.js";
import statusPb from "@pulumi/pulumi/proto/status_pb.js";
import { anyPb } from "./protos.ts";
import { PartialFailure } from "./provider.ts";
import { encodeProperties } from "./wire.ts";

/** An error as the engine reads it. A {@link PartialFailure} carries the resource's state along. */
export function errorReply(error: unknown, keepSecrets: boolean): Partial<grpc.StatusObject> & { code: grpc.status } {
  const message = error instanceof Error ? error.message : "the plugin failed without saying why";
  if (!(error instanceof PartialFailure)) return { code: grpc.status.UNKNOWN, details: message };
  const detail = new providerPb.ErrorResourceInitFailed();
  detail.setId(error.id);
  detail.setProperties(encodeProperties(error.properties, keepSecrets));
  if (error.inputs !== undefined) detail.setInputs(encodeProperties(error.inputs, keepSecrets));
  detail.setReasonsList(error.reasons.length > 0 ? error.reasons : [message]);
  const packed = new anyPb.Any();
  packed.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new statusPb.Status();
  status.setCode(grpc.status.UNKNOWN);
  status.setMessage(message);
  status.addDetails(packed);
  const metadata = new grpc.Metadata();
  // The Go side of gRPC reads an error's details from this key.
  metadata.add("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return { code: grpc.status.UNKNOWN, details: message, metadata };
}
