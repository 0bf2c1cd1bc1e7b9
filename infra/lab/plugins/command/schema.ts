import { Secret } from "../provider.ts";
import type { Properties, Value } from "../provider.ts";
import { anything, flag, integer, list, map, object, oneOf, text } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { isPlainObject } from "../wire.ts";

/** Input types of @pulumi/command 1.2.1, as its .d.ts files give them. */

const endpoint: Record<string, Shape> = {
  agentSocketPath: text,
  dialErrorLimit: integer(-1),
  host: text,
  hostKey: text,
  password: text,
  perDialTimeout: integer(0),
  port: integer(1, 65_535),
  privateKey: text,
  privateKeyPassword: text,
  user: text,
};

const connection = object({ ...endpoint, proxy: object(endpoint, ["host"]) }, ["host"]);
const logging = oneOf("stdout", "stderr", "stdoutAndStderr", "none");

const lifecycle: Record<string, Shape> = {
  addPreviousOutputInEnv: flag,
  create: text,
  delete: text,
  environment: map(text),
  logging,
  stdin: text,
  triggers: list(anything),
  update: text,
};

const localRun: Record<string, Shape> = {
  archivePaths: list(text),
  assetPaths: list(text),
  dir: text,
  interpreter: list(text),
};

/** Inputs of each resource type, by token. */
export const resourceShapes: Record<string, Shape> = {
  "command:remote:Command": object({ ...lifecycle, connection }, ["connection"]),
  "command:remote:CopyToRemote": object(
    { connection, remotePath: text, source: { kind: "asset", allow: ["asset", "archive"] }, triggers: list(anything) },
    ["connection", "remotePath", "source"],
  ),
  "command:local:Command": object({ ...lifecycle, ...localRun }),
};

/** Inputs of the function `command:local:run`. */
export const localRunShape = object(
  {
    addPreviousOutputInEnv: flag,
    ...localRun,
    command: text,
    environment: map(text),
    logging,
    stdin: text,
  },
  ["command"],
);

/** Source: @pulumi/command 1.2.1, types/input.d.ts. */
const ENDPOINT_DEFAULTS: Properties = { user: "root", port: 22, dialErrorLimit: 10, perDialTimeout: 15 };

/** The inputs with the provider's defaults, and with the connection as a secret, as the schema marks it. */
export function withDefaults(type: string, inputs: Properties): Properties {
  const result: Properties = {};
  for (const [key, value] of Object.entries(inputs)) if (value !== null) result[key] = value;
  if (type !== "command:remote:CopyToRemote") result["addPreviousOutputInEnv"] ??= true;
  const given = result["connection"];
  if (given !== undefined) {
    const inner = given instanceof Secret ? given.value : given;
    result["connection"] = new Secret(withEndpointDefaults(inner));
  }
  return result;
}

function withEndpointDefaults(value: Value): Value {
  if (!isPlainObject(value)) return value;
  const result: Properties = { ...ENDPOINT_DEFAULTS };
  for (const [key, field] of Object.entries(value)) {
    if (field !== null) result[key] = key === "proxy" ? withEndpointDefaults(field) : field;
  }
  return result;
}
