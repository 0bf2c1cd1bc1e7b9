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

function isPinned(image: string): boolean {
  if (image.includes("@sha256:")) return true;
  const tag = /:([A-Za-z0-9_][A-Za-z0-9_.-]*)$/.exec(image)?.[1];
  return tag !== undefined && tag !== "latest";
}
