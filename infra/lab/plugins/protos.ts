/**
 * The protobuf messages of the SDK, and the well-known types from the very copy of google-protobuf that the SDK uses:
 * a Struct of another copy cannot be put into its messages.
 */
import { createRequire } from "node:module";
import type anyTypes from "google-protobuf/google/protobuf/any_pb.js";
import type emptyTypes from "google-protobuf/google/protobuf/empty_pb.js";
import type structTypes from "google-protobuf/google/protobuf/struct_pb.js";

const requireHere = createRequire(import.meta.url);
const requireAsSdk = createRequire(requireHere.resolve("@pulumi/pulumi/proto/provider_pb.js"));

export const anyPb = requireAsSdk("google-protobuf/google/protobuf/any_pb.js") as typeof anyTypes;
export const emptyPb = requireAsSdk("google-protobuf/google/protobuf/empty_pb.js") as typeof emptyTypes;
export const structPb = requireAsSdk("google-protobuf/google/protobuf/struct_pb.js") as typeof structTypes;
