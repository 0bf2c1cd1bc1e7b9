import { z } from "zod";

/**
 * A container image that stays the same from one pod to the next: a tag other than `latest`, or a digest.
 * An untagged reference means `latest` to a container runtime, so it is refused as well.
 */
export const ImageRefSchema = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._\-/:]*[a-z0-9](:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$/,
    "want 'registry/name:tag' or 'registry/name@sha256:…'",
  )
  .refine(
    (image) => isPinned(image),
    "want a tag other than 'latest', or a digest, so that every pod runs the same image",
  );

/** The Ollama server that the `ollama` backend runs. Source: the Ollama project's image on Docker Hub, release 0.17.1. */
export const OLLAMA_IMAGE = "docker.io/ollama/ollama:0.17.1";

/** The vLLM server that the `vllm` backend runs. Source: the vLLM project's image on Docker Hub, release 0.11.0. */
export const VLLM_IMAGE = "docker.io/vllm/vllm-openai:v0.11.0";

/** First release of Ollama whose reader of model files is sound. Source: CVE-2026-7482. */
const SOUND_OLLAMA = [0, 17, 1] as const;

/**
 * Why an image is none that may serve as Ollama: its tag must say a sound release, so one with a digest alone is refused too. Variants such
 * as `0.17.1-rocm` are of that release, candidates (`-rc1`) are before it.
 * @returns undefined for a sound one
 */
export function ollamaImageProblem(image: string): string | undefined {
  const want = `want a tag of ${SOUND_OLLAMA.join(".")} or newer, such as ${OLLAMA_IMAGE}`;
  const why = "before it a model file from anywhere reads the server's memory (CVE-2026-7482)";
  const [name = ""] = image.split("@");
  const tag = /:([^/:]+)$/.exec(name)?.[1];
  const release = /^v?(\d+)\.(\d+)\.(\d+)(?:-(.+))?$/.exec(tag ?? "");
  if (release === null) return `its tag does not say its release; ${want}: ${why}`;
  const difference =
    SOUND_OLLAMA.map((part, index) => Number(release[index + 1]) - part).find((step) => step !== 0) ?? 0;
  const isCandidate = /^(rc|alpha|beta|pre)/.test(release[4] ?? "");
  return difference > 0 || (difference === 0 && !isCandidate)
    ? undefined
    : `release ${tag ?? ""} is too old; ${want}: ${why}`;
}

function isPinned(image: string): boolean {
  if (image.includes("@sha256:")) return true;
  const tag = /:([A-Za-z0-9_][A-Za-z0-9_.-]*)$/.exec(image)?.[1];
  return tag !== undefined && tag !== "latest";
}

/** An image of an Ollama server of a sound release. */
export const OllamaImageSchema = ImageRefSchema.superRefine((image, ctx) => {
  const problem = ollamaImageProblem(image);
  if (problem !== undefined) ctx.addIssue({ code: "custom", message: problem });
});
