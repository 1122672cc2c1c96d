/** What the cases of locks and user sessions are made of: places, writes, and how they are asked for. */

import { toHex } from '../../src/base/bytes.ts';
import {
  decodeMessage,
  encodeMessage,
  type Frame,
  FrameType,
  isFailure,
  type LockReply,
  lockQuery,
  lockReply,
  QueryKind,
  ResultCode,
  type SessionReply,
  type SessionWriteQuery,
  sessionQuery,
  sessionReply,
  sessionWriteQuery,
  unlockQuery,
} from '../../src/wire/index.ts';
import type { CaseText, WireContext } from '../case.ts';
import { CaseFailure, expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import { askFor, coordinatorCase, expectCode } from './coordinator-steps.ts';

/** Long enough for any case: what a case leaves behind lapses by itself. */
export const LEASE_MILLIS = 30_000;
export const LEASE_MILLIS_MIN = 1_000;
export const LEASE_MILLIS_MAX = 3_600_000;
export const LIFETIME_SECONDS_MAX = 31_536_000;
export const DATA_BYTES_MAX = 640;
/** Clocks of two machines [LOCK-3]. */
export const CLOCK_SLACK = 0.98;

// ---------------------------------------------------------------- locks

/** What somebody asks for a place with. */
export interface Claim {
  readonly name: string;
  readonly token: Uint8Array;
  readonly shared: boolean;
  readonly leaseMillis: number;
}

/** A name that no other case has, and no other run. */
export function lockName(context: WireContext): string {
  return `conformance-${toHex(context.random(8))}`;
}

/** A claim under a token of its own. */
export function claim(context: WireContext, name: string, fields: Partial<Claim> = {}): Claim {
  return { name, token: context.random(16), shared: false, leaseMillis: LEASE_MILLIS, ...fields };
}

export function lockBody(wanted: Claim, waitMillis = 0): Uint8Array {
  return encodeMessage(lockQuery, { ...wanted, waitMillis });
}

/** Asks for a place; what it is then. */
export function lock(session: RawSession, wanted: Claim, clause: string, waitMillis = 0): Promise<LockReply> {
  return askFor(session, QueryKind.LOCK, lockBody(wanted, waitMillis), lockReply, clause);
}

/** Asks for a place that must hold the lock at once. */
export async function hold(session: RawSession, wanted: Claim, clause: string): Promise<LockReply> {
  const place = await lock(session, wanted, clause);
  expectHeld(place, clause);
  return place;
}

/** Asks for a place that must wait behind so many others. */
export async function queue(
  session: RawSession,
  wanted: Claim,
  ahead: number,
  clause: string,
): Promise<LockReply> {
  const place = await lock(session, wanted, clause);
  expectThat(!place.held, 'a place that waits', 'one that holds', clause);
  expectThat(place.fencing === 0, 'fencing token 0', `${place.fencing}`, clause);
  expectThat(place.ahead === ahead, `${ahead} ahead`, `${place.ahead}`, clause);
  return place;
}

export function expectHeld({ held, fencing }: LockReply, clause: string): void {
  expectThat(held, 'a place that holds the lock', 'one that waits', clause);
  expectThat(fencing > 0, 'a fencing token', '0', clause);
}

/** A query that was sent, and how it is sent again. */
export interface Asked {
  readonly id: number;
  readonly again: () => void;
}

/** Sends a query. Nothing is waited for. */
export function begin(session: RawSession, kind: number, body: Uint8Array): Asked {
  const frame: Frame = { type: FrameType.QUERY, id: session.queryId(), kind, body };
  const again = (): void => void session.send([frame]);
  again();
  return { id: frame.id, again };
}

export function beginLock(session: RawSession, wanted: Claim, waitMillis: number): Asked {
  return begin(session, QueryKind.LOCK, lockBody(wanted, waitMillis));
}

/** Expects a code of a query that was sent; the body of its answer. */
export async function finish(
  session: RawSession,
  { id, again }: Asked,
  clause: string,
  expected: number = ResultCode.OK,
): Promise<Uint8Array> {
  const { code, body } = await session.reply(id, { clause, again });
  expectThat(code === expected, `code ${expected}`, `code ${code}`, clause);
  return body;
}

/** The place that a LOCK which was sent has come to. */
export async function finishLock(session: RawSession, asked: Asked, clause: string): Promise<LockReply> {
  const place = decodeMessage(lockReply, await finish(session, asked, clause));
  if (isFailure(place)) throw new CaseFailure('a body of LOCK that decodes', place, clause);
  return place;
}

/** Gives a place back, and expects a code. */
export async function unlock(
  session: RawSession,
  { name, token }: Claim,
  clause: string,
  fencing = 0,
  code: number = ResultCode.OK,
): Promise<void> {
  const body = encodeMessage(unlockQuery, { name, token, fencing });
  const answer = await expectCode(session, QueryKind.UNLOCK, body, code, clause);
  expectThat(answer.length === 0, 'an empty body', `${answer.length} bytes`, 'MSG-1');
}

/** A case with a client, and a lock that nobody has asked for. */
export function withLock(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext, client: RawSession, name: string) => Promise<void>,
): CaseText {
  return coordinatorCase(title, clauses, async (context) =>
    run(context, await context.connect(), lockName(context)),
  );
}

// ---------------------------------------------------------------- user sessions

/** Whose a user session is. */
export interface Owner {
  readonly id: Uint8Array;
  readonly token: Uint8Array;
}

/** What is written; the rest is the owner's, and a minute. */
type Written = Pick<SessionWriteQuery, 'number' | 'data'> & Partial<SessionWriteQuery>;

export function writeBody(owner: Owner, written: Written): Uint8Array {
  return encodeMessage(sessionWriteQuery, { lifetimeSeconds: 60, ...owner, ...written });
}

export function ownerBody({ id, token }: Owner): Uint8Array {
  return encodeMessage(sessionQuery, { id, token });
}

/** Writes, and expects OK. */
export async function write(
  session: RawSession,
  owner: Owner,
  written: Written,
  clause: string,
): Promise<void> {
  const body = writeBody(owner, written);
  const answer = await expectCode(session, QueryKind.SESSION_WRITE, body, ResultCode.OK, clause);
  expectThat(answer.length === 0, 'an empty body', `${answer.length} bytes`, 'USR-4');
}

export function readSession(session: RawSession, owner: Owner, clause: string): Promise<SessionReply> {
  return askFor(session, QueryKind.SESSION_READ, ownerBody(owner), sessionReply, clause);
}

/** Ends a session that is there. */
export async function endSession(session: RawSession, owner: Owner, clause: string): Promise<void> {
  const body = ownerBody(owner);
  const answer = await expectCode(session, QueryKind.SESSION_END, body, ResultCode.OK, clause);
  expectThat(answer.length === 0, 'an empty body', `${answer.length} bytes`, 'USR-4');
}

/** A case with a client, and a user session that nobody has written. */
export function withOwner(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext, client: RawSession, owner: Owner) => Promise<void>,
): CaseText {
  return coordinatorCase(title, clauses, async (context) => {
    const owner = { id: context.random(16), token: context.random(16) };
    await run(context, await context.connect(), owner);
  });
}
