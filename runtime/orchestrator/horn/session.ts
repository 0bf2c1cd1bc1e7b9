import { randomBytes } from "node:crypto";
import type { HornReply } from "../../contracts/horn.ts";
import type { AskEvent, AskRequest } from "../../contracts/native.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { timer } from "../../support/clock.ts";
import { replay } from "../api/asked.ts";
import { errorOf } from "../api/native.ts";
import type { Ensemble } from "../ensemble.ts";

/** Bytes of one question's frames that may be under way unacknowledged. */
export const WINDOW_BYTES = 262_144;

/** Most questions of one session at once, those kept for resumption included. */
const MOST_QUESTIONS = 32;

/** Where a session's frames go now. */
export interface Outlet {
  /** False when the socket is gone or does not take more for now; it then calls `pump` of the session later. */
  send(reply: HornReply): boolean;
}

/** One question of a session with all its frames, so that they can be sent again. */
interface Asked {
  id: string;
  frames: { event: AskEvent; bytes: number }[];
  /** Frames sent on the socket that is open now. */
  sent: number;
  /** Frames that the client has acknowledged. */
  acknowledged: number;
  unacknowledgedBytes: number;
  over: boolean;
  stop: AbortController;
  /** Cancels the timer that forgets it. */
  forget?: () => void;
}

/** The questions of one client, which outlive its sockets for a while. */
export class Session {
  /** Names it and lets its owner come back; 128 random bits. */
  readonly id = randomBytes(16).toString("base64url");
  readonly #ensemble: Ensemble;
  readonly #resumeMs: number;
  readonly #questions = new Map<string, Asked>();
  readonly #user: string | undefined;
  #outlet: Outlet | undefined;
  #cancelAbsent: () => void = () => undefined;

  /** @param user whose questions they are unless they say otherwise */
  constructor(ensemble: Ensemble, resumeMs: number, user?: string) {
    this.#ensemble = ensemble;
    this.#resumeMs = resumeMs;
    this.#user = user;
  }

  /** Whether nothing of it is left to resume. */
  get idle(): boolean {
    return this.#outlet === undefined && this.#questions.size === 0;
  }

  /** A socket takes over; an earlier one no longer gets anything. Frames go on only where a `resume` says from where. */
  attach(outlet: Outlet): void {
    this.#cancelAbsent();
    this.#outlet = outlet;
    for (const asked of this.#questions.values()) asked.sent = asked.frames.length + 1;
  }

  /** The socket has gone. Questions go on for a while; then they are cancelled. @param gone called when nothing is left */
  detach(outlet: Outlet, gone: () => void): void {
    if (this.#outlet !== outlet) return;
    this.#outlet = undefined;
    this.#cancelAbsent = timer(this.#resumeMs, () => {
      for (const asked of this.#questions.values())
        asked.stop.abort(new Fault("cancelled", "nobody came back for the answer"));
      this.#questions.clear();
      gone();
    });
  }

  /** Asks. @throws Fault conflict of ids as invalid_request, overloaded */
  ask(id: string, request: Omit<AskRequest, "stream">): void {
    if (this.#questions.has(id)) throw new Fault("invalid_request", `id: ${id} is in use in this session`);
    if (this.#questions.size >= MOST_QUESTIONS) {
      throw new Fault("overloaded", `this session has ${MOST_QUESTIONS} questions, which is the limit`, {
        retryAfterSeconds: 1,
      });
    }
    const asked: Asked = {
      id,
      frames: [],
      sent: 0,
      acknowledged: 0,
      unacknowledgedBytes: 0,
      over: false,
      stop: new AbortController(),
    };
    this.#questions.set(id, asked);
    this.#ensemble
      .ask({ ...request, user: request.user ?? this.#user }, asked.stop.signal, (event) => this.#add(asked, event))
      .then((answer) => {
        for (const text of replay(answer.reply)) this.#add(asked, { event: "text", text });
        this.#end(asked, { event: "answer", answer });
      })
      .catch((error: unknown) => this.#end(asked, { event: "error", error: errorOf(toFault(error)) }));
  }

  /** Cancels a question; its last frame says so. @throws Fault not_found */
  cancel(id: string): void {
    this.#find(id).stop.abort(new Fault("cancelled", "cancelled by the client"));
  }

  /** Sends the frames after a number again. @throws Fault not_found, invalid_request */
  resume(id: string, after: number): void {
    const asked = this.#find(id);
    if (after > asked.frames.length)
      throw new Fault("invalid_request", `after: got ${after}, want at most ${asked.frames.length}`);
    asked.sent = after;
    this.#acknowledge(asked, after);
    asked.unacknowledgedBytes = 0;
    this.pump();
  }

  /** Takes acknowledged frames out of the window. @throws Fault not_found, invalid_request */
  acknowledge(id: string, upTo: number): void {
    const asked = this.#find(id);
    if (upTo > asked.sent || upTo > asked.frames.length)
      throw new Fault("invalid_request", `upTo: got ${upTo}, which was not sent yet`);
    this.#acknowledge(asked, upTo);
    this.pump();
  }

  /** Sends what the windows and the socket take. */
  pump(): void {
    const outlet = this.#outlet;
    if (outlet === undefined) return;
    for (const asked of this.#questions.values()) {
      for (;;) {
        const frame = asked.frames[asked.sent];
        if (frame === undefined || asked.unacknowledgedBytes >= WINDOW_BYTES) break;
        if (!outlet.send({ type: "event", id: asked.id, seq: asked.sent + 1, event: frame.event })) return;
        asked.sent++;
        asked.unacknowledgedBytes += frame.bytes;
      }
    }
  }

  #acknowledge(asked: Asked, upTo: number): void {
    for (let at = asked.acknowledged; at < upTo; at++) asked.unacknowledgedBytes -= asked.frames[at]?.bytes ?? 0;
    asked.unacknowledgedBytes = Math.max(0, asked.unacknowledgedBytes);
    asked.acknowledged = Math.max(asked.acknowledged, upTo);
    if (asked.over && asked.acknowledged === asked.frames.length) this.#forget(asked);
  }

  #add(asked: Asked, event: AskEvent): void {
    if (asked.over) return;
    asked.frames.push({ event, bytes: JSON.stringify(event).length });
    this.pump();
  }

  #end(asked: Asked, event: AskEvent): void {
    this.#add(asked, event);
    asked.over = true;
    asked.forget = timer(this.#resumeMs, () => this.#forget(asked));
  }

  #forget(asked: Asked): void {
    asked.forget?.();
    this.#questions.delete(asked.id);
  }

  #find(id: string): Asked {
    const asked = this.#questions.get(id);
    if (asked === undefined)
      throw new Fault("not_found", `id: this session has no question ${id}, or it is over and forgotten`);
    return asked;
  }
}
