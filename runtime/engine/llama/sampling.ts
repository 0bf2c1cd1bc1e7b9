import { randomInt } from "node:crypto";
import type { SequenceEvaluateOptions, Token } from "node-llama-cpp";
import type { GenerateRequest } from "../backend.ts";

/** Tokens back that penalties look at when nothing is said. Source: Ollama's `repeat_last_n`. */
const USUAL_LOOK_BACK = 64;
const MOST_SEED = 0x7fff_ffff;

/** What llama.cpp draws each token by. @param context tokens of the window as they are when a token is drawn */
export function samplingOf(
  request: GenerateRequest,
  context: () => readonly Token[],
): Pick<SequenceEvaluateOptions, "temperature" | "topK" | "topP" | "minP" | "seed" | "repeatPenalty"> {
  const { temperature = 0, topK, topP, minP, seed, repeatPenalty, presencePenalty, frequencyPenalty } = request;
  const back = request.repeatLastTokens ?? USUAL_LOOK_BACK;
  const penalized = [repeatPenalty ?? 1, presencePenalty ?? 0, frequencyPenalty ?? 0].some(
    (value, at) => value !== (at === 0 ? 1 : 0),
  );
  return {
    temperature,
    ...(topK === undefined ? {} : { topK }),
    ...(topP === undefined ? {} : { topP }),
    ...(minP === undefined ? {} : { minP }),
    // The library's own seed is the second of the day: all who ask in it would draw the same.
    ...(temperature === 0 ? {} : { seed: seed === undefined || seed < 0 ? randomInt(MOST_SEED) : seed }),
    ...(penalized && back !== 0
      ? {
          repeatPenalty: {
            punishTokens: () => (back < 0 ? [...context()] : context().slice(-back)),
            penalty: repeatPenalty ?? 1,
            presencePenalty: presencePenalty ?? 0,
            frequencyPenalty: frequencyPenalty ?? 0,
          },
        }
      : {}),
  };
}
