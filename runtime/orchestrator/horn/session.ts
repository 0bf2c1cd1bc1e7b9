import { randomBytes } from "node:crypto";
import type { HornConfig } from "../../contracts/horn-config.ts";
import type { AskEvent, AskRequest } from "../../contracts/native.ts";
import { Fault } from "../../core/fault.ts";
import { timer } from "../../support/clock.ts";
import { Asking } from "../asking.ts";
import type { Ensemble } from "../ensemble.ts";
import type { Grant } from "./guard.ts";

/** Bytes of one question's frames that may be under way unacknowledged. */
export const WINDOW_BYTES = 262_144;

/** Where a session's frames go now. */
export interface Outlet {
  /** Sends a frame. @returns its bytes; 0 when the socket takes no more for now: it then calls `pump` of the session later */
  event(id: string, seq: number, event: AskEvent): number;
  /** Another socket has taken the session over. */
  replaced(): void;
}

/** One question of a session. */
interface Asked {
  id: string;
  asking: Asking;
  /** Number of the last frame sent on the socket that is open now. Infinity until a `resume` says where to go on. */
  sent: number;
  /** Bytes of each frame that was sent and not acknowledged, oldest first. */
  underWay: number[];
  underWayBytes: number;
  /** Cancels the timer that forgets it; set once it is over. */
  forget?: () => void;
}

/** The questions of one client, which outlive its sockets for a while. */
export class Session {
  /** Names it and lets its owner come back; 128 random bits. */
  readonly id = randomBytes(16).toString("base64url");
  /** Who may go on with it. */
  readonly owner: string;
  readonly #ensemble: Ensemble;
  readonly #config: Pick<HornConfig, "resumeMs" | "limits">;
  readonly #questions = new Map<string, Asked>();
  #outlet: Outlet | undefined;
  #cancelAbsent: () => void = () => undefined;

  constructor(ensemble: Ensemble, config: Pick<HornConfig, "resumeMs" | "limits">, owner: string) {
    this.#ensemble = ensemble;
    this.#config = config;
    this.owner = owner;
  }

  /** Ids of the questions that can be resumed. */
  get questions(): string[] {
    return [...this.#questions.keys()];
  }

  /** Whether every question is over and its client, where there is one, was sent all of it. */
  get settled(): boolean {
    for (const { asking, sent } of this.#questions.values())
      if (!asking.over || (this.#outlet !== undefined && sent < asking.journal.last)) return false;
    return true;
  }

  /** About what is kept for resumption, bytes. */
  get keptBytes(): number {
    let bytes = 0;
    for (const { asking } of this.#questions.values()) bytes += asking.journal.bytes;
    return bytes;
  }

  /** A socket takes over; an earlier one is told and no longer gets anything. Frames go on only where a `resume` says from where. */
  attach(outlet: Outlet): void {
    this.#cancelAbsent();
    this.#outlet?.replaced();
    this.#outlet = outlet;
    for (const asked of this.#questions.values()) asked.sent = Infinity;
  }

  /** The socket has gone. Questions go on for a while; then they are cancelled. @param gone called when nothing is left */
  detach(outlet: Outlet, gone: () => void): void {
    if (this.#outlet !== outlet) return;
    this.#outlet = undefined;
    const waitMs = this.#questions.size === 0 ? 0 : this.#config.resumeMs;
    this.#cancelAbsent = timer(waitMs, () => {
      this.end("nobody came back for the answer");
      gone();
    });
  }

  /** Cancels and forgets everything. */
  end(why: string): void {
    this.#cancelAbsent();
    for (const { asking, forget } of this.#questions.values()) {
      forget?.();
      asking.cancel(new Fault("cancelled", why));
    }
    this.#questions.clear();
  }

  /** Asks. @param grant asked first whether it may. @throws Fault conflict of ids as invalid_request, overloaded */
  ask(id: string, request: Omit<AskRequest, "stream">, grant?: () => Grant | Promise<Grant>): void {
    const { questionsPerSession } = this.#config.limits;
    if (this.#questions.has(id)) throw new Fault("invalid_request", `id: ${id} is in use in this session`);
    if (this.#questions.size >= questionsPerSession) {
      throw new Fault(
        "overloaded",
        `this session has ${questionsPerSession} questions, which is the limit; acknowledge answers, or wait for one`,
        { retryAfterSeconds: 1 },
      );
    }
    const asked: Asked = { id, asking: new Asking(), sent: 0, underWay: [], underWayBytes: 0 };
    this.#questions.set(id, asked);
    asked.asking.start(this.#ensemble, request, () => this.#more(asked), grant);
  }

  /** Cancels a question; its last frame says so. @throws Fault not_found */
  cancel(id: string): void {
    this.#find(id).asking.cancel(new Fault("cancelled", "cancelled by the client"));
  }

  /** Sends the frames after a number again. @throws Fault not_found, invalid_request */
  resume(id: string, after: number): void {
    const asked = this.#find(id);
    const { journal } = asked.asking;
    if (after > journal.last) throw new Fault("invalid_request", `after: got ${after}, want at most ${journal.last}`);
    if (after < journal.gone)
      throw new Fault("invalid_request", `after: got ${after}, but frames up to ${journal.gone} were acknowledged`);
    journal.workedOff(after);
    Object.assign(asked, { sent: after, underWay: [], underWayBytes: 0 });
    this.#forgetWorkedOff(asked);
    this.pump();
  }

  /** Takes acknowledged frames out of the window. @throws Fault not_found, invalid_request */
  acknowledge(id: string, upTo: number): void {
    const asked = this.#find(id);
    const { journal } = asked.asking;
    if (upTo > asked.sent || upTo > journal.last)
      throw new Fault("invalid_request", `upTo: got ${upTo}, which was not sent yet`);
    const gone = asked.underWay.splice(0, upTo - journal.gone);
    for (const bytes of gone) asked.underWayBytes -= bytes;
    journal.workedOff(upTo);
    this.#forgetWorkedOff(asked);
    this.pump();
  }

  /** Sends what the windows and the socket take. */
  pump(): void {
    for (const asked of this.#questions.values()) if (!this.#send(asked)) return;
  }

  /** Forgets the answers that ended, oldest first, until so many bytes are gone. @returns bytes that went */
  shed(bytes: number): number {
    let shed = 0;
    for (const asked of this.#questions.values()) {
      if (shed >= bytes) break;
      if (!asked.asking.over) continue;
      shed += asked.asking.journal.bytes;
      this.#forget(asked);
    }
    return shed;
  }

  /** Sends what there is of one question. @returns false when the socket takes no more */
  #send(asked: Asked): boolean {
    const outlet = this.#outlet;
    if (outlet === undefined) return false;
    while (asked.underWayBytes < WINDOW_BYTES) {
      const seq = asked.sent + 1;
      const event = asked.asking.journal.give(seq);
      if (event === undefined) return true;
      const bytes = outlet.event(asked.id, seq, event);
      if (bytes === 0) return false;
      asked.sent = seq;
      asked.underWay.push(bytes);
      asked.underWayBytes += bytes;
    }
    return true;
  }

  #more(asked: Asked): void {
    this.#send(asked);
    if (asked.asking.over && this.#questions.get(asked.id) === asked)
      asked.forget ??= timer(this.#config.resumeMs, () => this.#forget(asked));
  }

  #forgetWorkedOff(asked: Asked): void {
    const { over, journal } = asked.asking;
    if (over && journal.gone === journal.last) this.#forget(asked);
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
