/** Which writes of user sessions were acknowledged, and whether the state still has them: judges `Invariant.SESSION_KEPT`. */

import { equalBytes, fromHex, toHex } from '../src/base/bytes.ts';
import type { StateStore } from '../src/nodes/ports.ts';
import { decodeUserSession, userSessionKey } from '../src/nodes/user-session-record.ts';
import { USER_SESSION_ID_BYTES } from '../src/wire/index.ts';
import { Invariant, type Violations } from './checkers.ts';

/** Clocks of machines differ by less within one lifetime. */
const SURE_PART = 0.98;

/** What is known of one session from what clients wrote and were answered. */
export interface WrittenSession {
  readonly token: string;
  readonly lifetimeSeconds: number;
  /** Somebody works with it; for ever, when it is not known what became of that. */
  isBusy: boolean;
  /** Its end was asked for. */
  isEnded: boolean;
  /** Of the last write that was acknowledged. */
  number: number;
  data: Uint8Array;
  /** When that write began, in true time. */
  beganMicros: number;
  /** All data that were ever to be written, in hex. */
  readonly tried: Set<string>;
}

export class UserSessionChecker {
  readonly #violations: Violations;
  readonly sessions: WrittenSession[] = [];

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** Whether the session must be there at `nowMicros`. */
  mustBeThere(session: WrittenSession, nowMicros: number): boolean {
    const lastsMicros = session.lifetimeSeconds * 1_000_000 * SURE_PART;
    return !session.isEnded && nowMicros < session.beganMicros + lastsMicros;
  }

  /** Whether `found` can be what a session holds. */
  judge(session: WrittenSession, found: { readonly number: number; readonly data: Uint8Array }): void {
    const name = session.token.slice(0, 8);
    if (found.number < session.number) {
      this.#violations.report(
        Invariant.SESSION_KEPT,
        `session ${name} has write ${found.number}, and ${session.number} was acknowledged`,
      );
    } else if (found.number === session.number && !equalBytes(found.data, session.data)) {
      this.#violations.report(
        Invariant.SESSION_KEPT,
        `session ${name} has other data than were acknowledged`,
      );
    } else if (!session.tried.has(toHex(found.data))) {
      this.#violations.report(Invariant.SESSION_KEPT, `session ${name} has data that nobody wrote`);
    }
  }

  /** To be called when nothing is under way any more. */
  check(state: Pick<StateStore, 'get'>, nowMicros: number): void {
    for (const session of this.sessions) {
      if (!this.mustBeThere(session, nowMicros)) continue;
      const id = fromHex(session.token)!.subarray(0, USER_SESSION_ID_BYTES);
      const value = state.get(userSessionKey(id));
      const record = value === undefined ? undefined : decodeUserSession(value);
      if (record !== undefined) this.judge(session, record);
      else {
        this.#violations.report(
          Invariant.SESSION_KEPT,
          `session ${session.token.slice(0, 8)} was written and acknowledged, and is not there`,
        );
      }
    }
  }
}
