import { Template } from "@huggingface/jinja";
import type { EngineMessage } from "../backend.ts";

/** A stretch of a prompt: text of the template, in which marks such as `<|user|>` are tokens, or words of a message, in which they are just text. */
export interface PromptPart {
  text: string;
  marks: boolean;
}

/** A chat template that stands in for a model that brings none. Source: ChatML, which most small models since 2024 follow. */
const CHATML =
  "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/** Around the number of a message where its words will stand; no template has these characters (Unicode, private use). */
const OPEN = "\uE000";
const CLOSE = "\uE001";
const PLACE = /\uE000(\d+)\uE001/;

/**
 * Renders a chat by the model's own template. The words of messages are put in afterwards, so that nothing a user writes can become a
 * mark of the template. @throws Error when the template cannot be rendered
 */
export class ChatPrompt {
  readonly #template: Template;
  readonly #bos: string;
  readonly #eos: string;

  /** @param template Jinja text from the model's file; undefined: ChatML */
  constructor(template: string | undefined, tokens: { bos: string; eos: string }) {
    this.#template = new Template(template ?? CHATML);
    this.#bos = tokens.bos;
    this.#eos = tokens.eos;
  }

  /** The prompt up to where the answer begins. */
  render(messages: readonly EngineMessage[]): PromptPart[] {
    const rendered = this.#template.render({
      messages: messages.map(({ role }, index) => ({ role, content: `${OPEN}${index}${CLOSE}` })),
      add_generation_prompt: true,
      bos_token: this.#bos,
      eos_token: this.#eos,
      // Reasoning models write their thoughts first unless they are told not to; nobody here reads them.
      enable_thinking: false,
    });
    return rendered
      .split(PLACE)
      .map((text, index) =>
        index % 2 === 0 ? { text, marks: true } : { text: messages[Number(text)]?.content ?? "", marks: false },
      )
      .filter(({ text }) => text !== "");
  }
}
