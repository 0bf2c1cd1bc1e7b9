import { monotonicMs } from "../../support/clock.ts";
import { describe } from "../chat.ts";
import type { HornEvent } from "../horn/client.ts";

/** Shows what happens to a question: the models' stages, a draft where one was asked for, and the reply. */
export interface Screen {
  event(event: HornEvent): void;
  /** A line about the chat itself. */
  note(text: string): void;
  error(text: string): void;
  /** The question is over; nothing of it stays provisional. */
  done(): void;
}

/** What of the output matters for a screen. */
export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** Plain lines, for pipes and files: nothing is ever taken back. */
export class PlainScreen implements Screen {
  readonly #output: Output;
  readonly #quiet: boolean;
  #begun = false;
  #drafting = false;

  /** @param quiet shows the reply alone */
  constructor(output: Output, quiet: boolean) {
    this.#output = output;
    this.#quiet = quiet;
  }

  event(event: HornEvent): void {
    if (event.event === "again") {
      this.#line("(the service had lost the question; it is asked again from the start)");
      this.#begun = false;
      return;
    }
    if (event.event === "draft") {
      this.#output.write(
        this.#drafting ? event.text : `Draft by ${event.member}, provisional: ${event.text.trimStart()}`,
      );
      this.#drafting = true;
      return;
    }
    const line = describe(event);
    if (line !== "" && !this.#quiet) this.#line(line.trimEnd());
    if (event.event === "text") {
      this.#endDraft();
      this.#output.write(this.#begun ? event.text : `Reply: ${event.text}`);
      this.#begun = true;
    }
  }

  note(text: string): void {
    this.#line(text);
  }

  error(text: string): void {
    this.#line(`Error: ${text}`);
  }

  done(): void {
    this.#endDraft();
    if (this.#begun) this.#output.write("\n");
    this.#begun = false;
  }

  #line(text: string): void {
    this.#endDraft();
    if (this.#begun) this.#output.write("\n");
    this.#begun = false;
    this.#output.write(`${text}\n`);
  }

  #endDraft(): void {
    if (this.#drafting) this.#output.write("\n");
    this.#drafting = false;
  }
}

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const SPIN_MS = 100;
/** Rows of a draft that are shown at once; what was before them has been seen. */
const DRAFT_ROWS = 6;

/** One model at work. */
interface Row {
  text: string;
  sinceMs: number;
  mark?: string;
}

/** A terminal: a row for each stage that is drawn again as it goes on, and gone when the reply begins. */
export class TerminalScreen implements Screen {
  readonly #output: Output;
  readonly #colour: boolean;
  readonly #rows = new Map<string, Row>();
  #draft: { member: string; text: string } | undefined;
  #won = "";
  #drawn = 0;
  #begun = false;
  #turn = 0;
  #spin: NodeJS.Timeout | undefined;

  constructor(output: Output, colour: boolean) {
    this.#output = output;
    this.#colour = colour;
  }

  event(event: HornEvent): void {
    switch (event.event) {
      case "stage-start":
        this.#rows.set(`${event.stage} ${event.member}`, {
          text: `${event.member} (${event.model}) is thinking`,
          sinceMs: monotonicMs(),
        });
        break;
      case "stage-end": {
        const { stage, member, model, status, ms, reason } = event.stage;
        const why = reason === undefined || status === "ok" ? "" : `: ${reason}`;
        this.#rows.set(`${stage} ${member}`, {
          text: `${member} (${model}) ${status} after ${seconds(ms)}${why}`,
          sinceMs: 0,
          mark: status === "ok" ? "✓" : "·",
        });
        break;
      }
      case "draft":
        this.#draft ??= { member: event.member, text: "" };
        this.#draft.text += event.text;
        break;
      case "decision":
        this.#won = `${event.decision.winner} (${event.decision.model}) won: ${event.decision.why}`;
        break;
      case "text":
        this.#reply(event.text);
        return;
      case "again":
        this.#rows.clear();
        this.#draft = undefined;
        this.note("(the service had lost the question; it is asked again from the start)");
        return;
      case "routing":
      case "answer":
      case "error":
        return;
    }
    if (this.#begun) return;
    this.#spin ??= setInterval(() => this.#draw(), SPIN_MS);
    this.#draw();
  }

  note(text: string): void {
    this.#erase();
    if (this.#begun) this.#output.write("\n");
    this.#begun = false;
    this.#output.write(`${this.#dim(visible(text))}\n`);
  }

  error(text: string): void {
    this.#erase();
    this.#output.write(`${this.#begun ? "\n" : ""}${this.#paint("31", `Error: ${visible(text)}`)}\n`);
    this.#begun = false;
  }

  done(): void {
    this.#erase();
    if (this.#begun) this.#output.write("\n");
    this.#begun = false;
    this.#rows.clear();
    this.#draft = undefined;
    this.#won = "";
  }

  #reply(text: string): void {
    if (!this.#begun) {
      this.#erase();
      const draft = this.#draft;
      const replaced =
        draft === undefined || this.#won.startsWith(`${draft.member} `) ? "" : `; the draft was ${draft.member}'s`;
      if (this.#won !== "") this.#output.write(`${this.#dim(visible(`  ${this.#won}${replaced}`))}\n`);
      this.#output.write(this.#paint("1", "Reply: "));
      this.#begun = true;
    }
    this.#output.write(visible(text));
  }

  /** Draws the rows again where they stand. */
  #draw(): void {
    if (this.#begun) return;
    const width = Math.max(10, (this.#output.columns ?? 80) - 1);
    const turn = FRAMES[this.#turn++ % FRAMES.length] ?? "";
    const rows = [...this.#rows.values()].map(({ text, sinceMs, mark }) =>
      this.#dim(
        cut(
          `  ${mark ?? turn} ${visible(text)}${mark === undefined ? ` ${seconds(monotonicMs() - sinceMs)}` : ""}`,
          width,
        ),
      ),
    );
    const draft = this.#draft;
    if (draft !== undefined) {
      rows.push(this.#dim(cut(`  draft by ${draft.member}, may be replaced:`, width)));
      for (const line of wrapped(visible(draft.text).trim(), width - 2).slice(-DRAFT_ROWS)) rows.push(`  ${line}`);
    }
    const up = this.#drawn === 0 ? "" : `\u001b[${this.#drawn}A\r`;
    this.#output.write(`${up}\u001b[J${rows.map((row) => `${row}\n`).join("")}`);
    this.#drawn = rows.length;
  }

  #erase(): void {
    clearInterval(this.#spin);
    this.#spin = undefined;
    if (this.#drawn > 0) this.#output.write(`\u001b[${this.#drawn}A\r\u001b[J`);
    this.#drawn = 0;
  }

  #dim(text: string): string {
    return this.#paint("2", text);
  }

  #paint(code: string, text: string): string {
    return this.#colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** A text without what a terminal would obey: a model must not move the cursor or name the window. */
export function visible(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "");
}

/** Characters that take two columns. Source: Unicode, East Asian Width W and F, the blocks in common use. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** Columns that one character takes. */
function widthOf(character: string): number {
  if (/^[\p{Mn}\p{Me}\p{Cf}]/u.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** A line cut to so many columns. */
export function cut(line: string, columns: number): string {
  return wrapped(line, columns)[0] ?? "";
}

/** A text in lines of at most so many columns, broken between characters. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const line of text.replaceAll("\t", "  ").split("\n")) {
    let row = "";
    let used = 0;
    for (const character of line) {
      const width = widthOf(character);
      if (used + width > columns && row !== "") {
        lines.push(row);
        row = "";
        used = 0;
      }
      row += character;
      used += width;
    }
    lines.push(row);
  }
  return lines;
}
