/** A user session as the shared state keeps it, and how every coordinator reads it [USR-1]. */

import { concatBytes, equalBytesConstantTime } from '../base/bytes.ts';
import { mark } from '../base/marks.ts';
import type { Suite } from '../crypto/index.ts';
import {
  encodeMessage,
  Reader,
  ResultCode,
  sessionQuery,
  sessionReply,
  USER_DATA_BYTES_MAX,
  USER_SESSION_ID_BYTES,
  Writer,
} from '../wire/index.ts';
import type { Clock, IncomingQuery, Log, StateStore } from './ports.ts';
import { readQuery } from './roles.ts';
import { isBehind, USER_SESSION_PREFIX } from './state-keys.ts';

export interface UserSessionRecord {
  /** SHA-256 of the token: the state does not know the token itself. */
  readonly tokenHash: Uint8Array;
  /** Of the last write. */
  readonly number: number;
  readonly lifetimeSeconds: number;
  /** Wall-clock milliseconds: only to say how much remains. What ends a session is a lease of the leader. */
  readonly deadlineMillis: number;
  readonly data: Uint8Array;
}

const RECORD_VERSION = 1;
const TOKEN_HASH_BYTES = 32;
const FIXED_BYTES = 1 + TOKEN_HASH_BYTES + 6 + 4 + 6 + 2;

export function userSessionKey(id: Uint8Array): Uint8Array {
  return concatBytes(USER_SESSION_PREFIX, id);
}

export function isUserSessionKey(key: Uint8Array): boolean {
  return (
    isBehind(key, USER_SESSION_PREFIX) && key.length === USER_SESSION_PREFIX.length + USER_SESSION_ID_BYTES
  );
}

export function encodeUserSession(record: UserSessionRecord): Uint8Array {
  const writer = new Writer(new Uint8Array(FIXED_BYTES + record.data.length));
  writer.u8(RECORD_VERSION);
  writer.fixed(record.tokenHash, TOKEN_HASH_BYTES);
  writer.u48(record.number);
  writer.u32(record.lifetimeSeconds);
  writer.u48(record.deadlineMillis);
  writer.u16(record.data.length);
  writer.bytes(record.data);
  return writer.buffer;
}

/** The record in `value`, or undefined when this version cannot read it. */
export function decodeUserSession(value: Uint8Array): UserSessionRecord | undefined {
  const reader = new Reader(value);
  const version = reader.u8();
  const tokenHash = reader.bytes(TOKEN_HASH_BYTES).slice();
  const number = reader.u48();
  const lifetimeSeconds = reader.u32();
  const deadlineMillis = reader.u48();
  const data = reader.bytes(reader.u16()).slice();
  reader.end();
  const isFit = version === RECORD_VERSION && reader.failure === undefined;
  if (!isFit || data.length > USER_DATA_BYTES_MAX) return undefined;
  return { tokenHash, number, lifetimeSeconds, deadlineMillis, data };
}

/** Whether `token` is that of the session; compared in constant time. */
export function isTokenOf(suite: Suite, { tokenHash }: UserSessionRecord, token: Uint8Array): boolean {
  return equalBytesConstantTime(suite.sha256(token), tokenHash);
}

/**
 * Answers SESSION_READ from what is known here, at the leader and at others [LEAD-3].
 *
 * @returns false when the session is not known here; then nothing has been answered
 */
export function readUserSession(
  query: IncomingQuery,
  peer: string,
  options: {
    readonly state: StateStore;
    readonly suite: Suite;
    readonly clock: Clock;
    readonly log: Log;
  },
): boolean {
  const message = readQuery(query, sessionQuery);
  if (message === undefined) return true;
  const { state, suite, clock, log } = options;
  const value = state.get(userSessionKey(message.id));
  const record = value === undefined ? undefined : decodeUserSession(value);
  if (record === undefined) return false;
  if (!isTokenOf(suite, record, message.token)) {
    log.warn('a user session was asked for with a wrong token', { peer });
    mark('session-denied');
    query.reply(ResultCode.DENIED);
    return true;
  }
  const { number, lifetimeSeconds, data } = record;
  // A wall clock that was set says nonsense, and never more than there can be.
  const leftSeconds = Math.ceil((record.deadlineMillis - clock.wallMillis()) / 1_000);
  const remainingSeconds = Math.min(lifetimeSeconds, Math.max(0, leftSeconds));
  const stale = !state.isCurrent;
  query.reply(ResultCode.OK, encodeMessage(sessionReply, { number, remainingSeconds, stale, data }));
  return true;
}
