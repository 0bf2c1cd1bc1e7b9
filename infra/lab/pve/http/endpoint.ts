import { z } from "zod";
import type { Lab } from "../lab.ts";
import { vmOptionParameters } from "../vm/options.ts";
import { parseParameters } from "./parameters.ts";
import type { Upload } from "./upload.ts";

/** One request as a handler sees it, its parameters checked. */
export interface Call<P> {
  lab: Lab;
  /** Who asks: `root@pam`, or `root@pam!lab` for a token. */
  user: string;
  params: P;
  /** VM options among the parameters, in stored form; empty where the endpoint takes none. */
  options: Readonly<Record<string, string>>;
  /** The file part of an upload; present at endpoints with `upload` only. */
  upload: Upload | undefined;
}

/** One method at one path: route, checks and documentation come from here alone. */
export interface Endpoint {
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** Path below `/api2/json`, `{name}` for a part that is a parameter. */
  path: string;
  /** What it does, one sentence. */
  summary: string;
  /** Names of the parameters that belong to the endpoint itself; every other one is refused. */
  parameterNames: readonly string[];
  /** Whether it takes every VM option besides. */
  takesVmOptions: boolean;
  /** Whether the body is multipart with one file. */
  upload: boolean;
  /** True where no credentials are asked for. */
  open: boolean;
  /** Checks the parameters, strictly, and answers with what becomes `data`. @throws ApiError */
  run(values: Readonly<Record<string, string>>, call: Omit<Call<never>, "params" | "options">): Promise<unknown>;
}

interface EndpointSpec<S extends z.ZodRawShape> {
  summary: string;
  parameters: S;
  vmOptions?: boolean;
  upload?: boolean;
  open?: boolean;
  handle(call: Call<z.output<z.ZodObject<S>>>): unknown;
}

/** Declares an endpoint; `route` is method and path, as in `GET /nodes/{node}/status`. */
export function endpoint<S extends z.ZodRawShape>(
  route: `${Endpoint["method"]} /${string}`,
  spec: EndpointSpec<S>,
): Endpoint {
  const [method, path = ""] = route.split(" ");
  const own = z.strictObject(spec.parameters);
  const takesVmOptions = spec.vmOptions ?? false;
  const optionShape = Object.fromEntries(
    Object.entries(vmOptionParameters).filter(([key]) => !Object.hasOwn(spec.parameters, key)),
  );
  const full = takesVmOptions ? z.strictObject({ ...optionShape, ...spec.parameters }) : own;
  const bare = z.object(spec.parameters);
  const options = z.object(optionShape);
  return {
    method: method === "POST" || method === "PUT" || method === "DELETE" ? method : "GET",
    path,
    summary: spec.summary,
    parameterNames: Object.keys(spec.parameters),
    takesVmOptions,
    upload: spec.upload ?? false,
    open: spec.open ?? false,
    async run(values, call) {
      parseParameters(full, values);
      const chosen = takesVmOptions ? Object.entries(parseParameters(options, values)) : [];
      return spec.handle({
        ...call,
        params: parseParameters(bare, values),
        options: Object.fromEntries(
          chosen.flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : [])),
        ),
      });
    },
  };
}
