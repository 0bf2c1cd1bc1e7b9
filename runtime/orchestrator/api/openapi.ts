import { z } from "zod";
import { FAULTS } from "../../contracts/errors.ts";
import { type Operation, OPERATIONS } from "./operations.ts";

const JSON_TYPE = "application/json";
const SSE_TYPE = "text/event-stream";

/** Headers of every answer but those of probes. */
const HEADERS = {
  "x-request-id": {
    description: "The request's own `x-request-id` where it is fit for a log, else a fresh one",
    schema: { type: "string" },
  },
  "x-gorkheavy-member": { description: "The member that a request was passed to", schema: { type: "string" } },
  "x-gorkheavy-winner": { description: "The member whose words the ensemble gives", schema: { type: "string" } },
  "x-gorkheavy-conversation": {
    description: "The conversation of the answer; send it with the next question",
    schema: { type: "string" },
  },
};

/** The OpenAPI 3.1 document of the service, made from the same schemas that check its requests. */
export function openApiDocument(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS) (paths[operation.path] ??= {})[operation.method] = describe(operation);
  return {
    openapi: "3.1.0",
    info: {
      title: "gorkheavy",
      version,
      description: "An ensemble of small language models that answers with one voice.",
    },
    paths,
  };
}

function describe({ method, path, summary, request, query, answers, error }: Operation): Record<string, unknown> {
  const statuses = [...new Set(Object.values(FAULTS).map(({ status }) => status))]
    .filter((status) => status !== 499)
    .toSorted((a, b) => a - b);
  const failure = {
    description: "An error of this API's own shape",
    content: { [JSON_TYPE]: { schema: schemaOf(error, "output") } },
  };
  const content = Object.entries(answers ?? {}).map(([type, schema]) => {
    const one = schemaOf(schema, "output");
    return [type, { schema: type === SSE_TYPE ? eventOf(one) : one }];
  });
  const success = { description: "The answer", headers: HEADERS, content: Object.fromEntries(content) as unknown };
  const parameters = [
    ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: "path",
      required: true,
      schema: { type: "string" },
    })),
    ...Object.entries(query?.shape ?? {}).map(([name, schema]) => ({
      name,
      in: "query",
      required: false,
      schema: schemaOf(schema as z.ZodType, "input"),
    })),
  ];
  return {
    operationId: `${method}${path.replaceAll(/[^A-Za-z0-9]+/g, "_")}`,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(request === undefined
      ? {}
      : { requestBody: { required: true, content: { [JSON_TYPE]: { schema: schemaOf(request, "input") } } } }),
    responses: {
      ...(answers === undefined ? {} : { 200: success }),
      ...Object.fromEntries(statuses.map((status) => [status, failure])),
    },
  };
}

/** Schema of each event of a stream whose data is JSON. Source: OpenAPI 3.2, "Server-Sent Event Streams". */
function eventOf(schema: unknown): unknown {
  const data = { type: "string", contentMediaType: JSON_TYPE, contentSchema: schema };
  return { type: "object", required: ["data"], properties: { event: { type: "string" }, data } };
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): unknown {
  return { ...z.toJSONSchema(schema, { io, unrepresentable: "any" }), $schema: undefined };
}
