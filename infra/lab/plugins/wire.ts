import type { Struct as StructMessage, Value as ValueMessage } from "google-protobuf/google/protobuf/struct_pb.js";
import { structPb } from "./protos.ts";
import { AssetValue, ResourceReference, Secret, UNKNOWN, Unknown } from "./provider.ts";
import type { Properties, Value } from "./provider.ts";

/** Marks a Struct as one of the special values below. Source: pulumi sdk/go/common/resource/sig/sig.go, v3.250.0. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const ASSET = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7";
const RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e";
const OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4";

/** Strings that stand for "not known yet", by the kind of value. Source: sdk/go/common/resource/plugin/rpc.go, v3.250.0. */
const UNKNOWN_BOOL = "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7";
const UNKNOWN_NUMBER = "3eeb2bf0-c639-47a8-9e75-3b44932eb421";
const UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const UNKNOWN_ARRAY = "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2";
const UNKNOWN_ASSET = "030794c1-ac77-496b-92df-f27374a8bd58";
const UNKNOWN_ARCHIVE = "e48ece36-62e2-4504-bad9-02848725956a";
const UNKNOWN_OBJECT = "dd056dcd-154b-4c76-9bd3-c8f88648b5ff";
const UNKNOWNS = new Set([
  UNKNOWN_BOOL,
  UNKNOWN_NUMBER,
  UNKNOWN_STRING,
  UNKNOWN_ARRAY,
  UNKNOWN_ASSET,
  UNKNOWN_ARCHIVE,
  UNKNOWN_OBJECT,
]);

/** Reads a Struct from the engine. A missing one is an empty one. */
export function decodeProperties(struct: StructMessage | undefined): Properties {
  const result: Properties = {};
  struct?.getFieldsMap().forEach((value, key) => {
    result[key] = decodeValue(value);
  });
  return result;
}

/** Reads one protobuf value, with its wrappers. */
export function decodeValue(value: ValueMessage): Value {
  switch (value.getKindCase()) {
    case structPb.Value.KindCase.BOOL_VALUE:
      return value.getBoolValue();
    case structPb.Value.KindCase.NUMBER_VALUE:
      return value.getNumberValue();
    case structPb.Value.KindCase.STRING_VALUE: {
      const text = value.getStringValue();
      return UNKNOWNS.has(text) ? UNKNOWN : text;
    }
    case structPb.Value.KindCase.LIST_VALUE:
      return (value.getListValue()?.getValuesList() ?? []).map(decodeValue);
    case structPb.Value.KindCase.STRUCT_VALUE:
      return decodeObject(decodeProperties(value.getStructValue()));
    case structPb.Value.KindCase.NULL_VALUE:
    case structPb.Value.KindCase.KIND_NOT_SET:
      return null;
  }
}

function text(value: Value | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function decodeObject(fields: Properties): Value {
  const signature = fields[SIGNATURE];
  if (typeof signature !== "string") return fields;
  switch (signature) {
    case SECRET:
      return new Secret(fields["value"] ?? null);
    case OUTPUT: {
      // A value that is absent is unknown; one that is there may be secret on top.
      const inner = fields["value"] ?? UNKNOWN;
      return fields["secret"] === true ? new Secret(inner) : inner;
    }
    case RESOURCE: {
      const id = fields["id"];
      return new ResourceReference(text(fields["urn"]) ?? "", id instanceof Unknown ? UNKNOWN : text(id));
    }
    case ASSET:
    case ARCHIVE: {
      const { assets } = fields;
      return new AssetValue(signature === ASSET ? "asset" : "archive", {
        hash: text(fields["hash"]),
        text: text(fields["text"]),
        path: text(fields["path"]),
        uri: text(fields["uri"]),
        members: isPlainObject(assets) ? assets : undefined,
      });
    }
    default:
      throw new Error("The engine sent a value with a signature that this plugin does not know; is the engine newer?");
  }
}

/** True for objects of properties, false for arrays, null and the wrappers. */
export function isPlainObject(value: Value | undefined): value is Properties {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Unknown) &&
    !(value instanceof Secret) &&
    !(value instanceof AssetValue) &&
    !(value instanceof ResourceReference)
  );
}

/** Writes properties for the engine. With `keepSecrets` false, secrets go out as their plain value. */
export function encodeProperties(properties: Properties, keepSecrets = true): StructMessage {
  const struct = new structPb.Struct();
  for (const [key, value] of Object.entries(properties)) {
    struct.getFieldsMap().set(key, encodeValue(value, keepSecrets));
  }
  return struct;
}

/** Writes one value for the engine. */
export function encodeValue(value: Value, keepSecrets = true): ValueMessage {
  const message = new structPb.Value();
  if (value === null) {
    message.setNullValue(structPb.NullValue.NULL_VALUE);
  } else if (typeof value === "boolean") {
    message.setBoolValue(value);
  } else if (typeof value === "number") {
    message.setNumberValue(value);
  } else if (typeof value === "string") {
    message.setStringValue(value);
  } else if (Array.isArray(value)) {
    const list = new structPb.ListValue();
    list.setValuesList(value.map((item) => encodeValue(item, keepSecrets)));
    message.setListValue(list);
  } else if (value instanceof Unknown) {
    message.setStringValue(UNKNOWN_STRING);
  } else if (value instanceof Secret) {
    return keepSecrets
      ? encodeValue({ [SIGNATURE]: SECRET, value: value.value })
      : encodeValue(value.value, keepSecrets);
  } else if (value instanceof ResourceReference) {
    const fields: Properties = { [SIGNATURE]: RESOURCE, urn: value.urn };
    if (value.id !== undefined) fields["id"] = value.id;
    return encodeValue(fields, keepSecrets);
  } else if (value instanceof AssetValue) {
    return encodeValue(encodeAsset(value), keepSecrets);
  } else {
    message.setStructValue(encodeProperties(value, keepSecrets));
  }
  return message;
}

function encodeAsset(asset: AssetValue): Properties {
  const fields: Properties = { [SIGNATURE]: asset.kind === "asset" ? ASSET : ARCHIVE };
  if (asset.hash !== undefined) fields["hash"] = asset.hash;
  if (asset.text !== undefined) fields["text"] = asset.text;
  if (asset.path !== undefined) fields["path"] = asset.path;
  if (asset.uri !== undefined) fields["uri"] = asset.uri;
  if (asset.members !== undefined) fields["assets"] = asset.members;
  return fields;
}
