import { z } from "zod";

/** Wire format of the Ollama API's verbs that change models (docs/api.md of ollama/ollama, 0.17). Unknown fields are ignored, as Ollama does. */

const model = { model: z.string().min(1).optional(), name: z.string().min(1).optional() };
const named = (r: { model?: string | undefined; name?: string | undefined }): boolean =>
  (r.model ?? r.name) !== undefined;
const UNNAMED = { path: ["model"], message: "want the model's name" };

/** `POST /api/create`: from uploaded files, or from another model. */
export const OllamaCreateRequest = z
  .looseObject({
    ...model,
    from: z.string().min(1).nullish(),
    /** File names and their digests, `sha256:` and 64 hex digits. */
    files: z.record(z.string(), z.string()).nullish(),
    adapters: z.record(z.string(), z.string()).nullish(),
    template: z.string().nullish(),
    license: z.union([z.string(), z.array(z.string())]).nullish(),
    system: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    messages: z.array(z.unknown()).nullish(),
    quantize: z.string().nullish(),
    quantization: z.string().nullish(),
    /** Ollama before 0.5.5 sent these. */
    modelfile: z.string().nullish(),
    path: z.string().nullish(),
    stream: z.boolean().nullish(),
  })
  .refine(named, UNNAMED);
/** `POST /api/create`. */
export type OllamaCreateRequest = z.output<typeof OllamaCreateRequest>;

/** `POST /api/copy`. */
export const OllamaCopyRequest = z.looseObject({ source: z.string().min(1), destination: z.string().min(1) });

/** `DELETE /api/delete`. */
export const OllamaDeleteRequest = z.looseObject(model).refine(named, UNNAMED);
