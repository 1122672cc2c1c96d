/**
 * What a coordinator may answer about locks, user sessions and members, whatever it was asked before: held
 * against the queries and answers of one run, when all are there.
 */

import { equalBytes, toHex } from '../../src/base/bytes.ts';
import {
  type Codec,
  decodeMessage,
  lockQuery,
  lockReply,
  membersQuery,
  membersReply,
  QueryKind,
  ResultCode,
  sessionQuery,
  sessionReply,
  sessionWriteQuery,
} from '../../src/wire/index.ts';
import { check } from '../engine/target.ts';
import type { Asked } from './role-connection.ts';

const LEASE_MILLIS_MIN = 1_000;
const LEASE_MILLIS_MAX = 3_600_000;
const LIFETIME_SECONDS_MAX = 31_536_000;
/** What a body that states what cannot be is refused with. */
const REFUSALS: ReadonlySet<number> = new Set([ResultCode.MALFORMED, ResultCode.DENIED, ResultCode.BUSY]);

/** Holds all answers of one run against the rules of page 11. */
export function checkTenures(asked: readonly Asked[]): void {
  checkLocks(asked);
  checkSessions(asked);
  for (const one of ofKind(asked, QueryKind.MEMBERS)) checkMembers(one);
}

function ofKind(asked: readonly Asked[], kind: number): Asked[] {
  return asked.filter((one) => one.kind === kind);
}

function queryOf<Message extends object>({ body }: Asked, codec: Codec<Message>): Message | undefined {
  const message: Message | string = decodeMessage(codec, body);
  return typeof message === 'string' ? undefined : message;
}

/** The answer, where it is OK. */
function answerOf<Message extends object>({ reply }: Asked, codec: Codec<Message>): Message | undefined {
  if (reply?.code !== ResultCode.OK) return undefined;
  const message: Message | string = decodeMessage(codec, reply.body);
  check(typeof message !== 'string', 'an answer that does not decode');
  return message;
}

/** [LOCK-2] [LOCK-4] [LOCK-6] Who holds, behind whom, under which fencing token. */
function checkLocks(asked: readonly Asked[]): void {
  const holders = new Map<string, string>();
  for (const one of ofKind(asked, QueryKind.LOCK)) {
    const query = queryOf(one, lockQuery);
    if (query === undefined) continue;
    const { name, token, shared, leaseMillis } = query;
    const isLease = leaseMillis >= LEASE_MILLIS_MIN && leaseMillis <= LEASE_MILLIS_MAX;
    check(isLease || REFUSALS.has(one.reply!.code), `a lease of ${leaseMillis} ms is taken`);
    const place = answerOf(one, lockReply);
    if (place === undefined) continue;
    const { held, fencing, ahead } = place;
    check(held === fencing > 0, 'a fencing token for who waits, or none for who holds');
    check(
      held ? shared || ahead === 0 : ahead > 0,
      `a place with ${ahead} ahead that ${held ? 'holds' : 'waits'}`,
    );
    if (!held) continue;
    const holder = toHex(token);
    const before = holders.get(`${fencing} ${name}`);
    check(before === undefined || before === holder, 'two holders have one fencing token');
    holders.set(`${fencing} ${name}`, holder);
  }
}

/** [USR-1] [USR-3] Whoever reads has the token, and is given what was written under it with this number. */
function checkSessions(asked: readonly Asked[]): void {
  const writes = ofKind(asked, QueryKind.SESSION_WRITE).flatMap((one) => {
    const query = queryOf(one, sessionWriteQuery);
    if (query === undefined) return [];
    const { number, lifetimeSeconds } = query;
    const isPossible = number > 0 && lifetimeSeconds > 0 && lifetimeSeconds <= LIFETIME_SECONDS_MAX;
    check(isPossible || REFUSALS.has(one.reply!.code), 'a user session that cannot be is written');
    return one.reply!.code === ResultCode.OK ? [query] : [];
  });
  for (const one of ofKind(asked, QueryKind.SESSION_READ)) {
    const query = queryOf(one, sessionQuery);
    const read = answerOf(one, sessionReply);
    if (query === undefined || read === undefined) continue;
    const isWritten = writes.some(
      ({ id, token, number, data }) =>
        number === read.number &&
        equalBytes(id, query.id) &&
        equalBytes(token, query.token) &&
        equalBytes(data, read.data),
    );
    check(isWritten, 'a user session is read that nobody wrote so');
  }
}

/** [MEM-3] A page is in order, behind the place that was asked for. */
function checkMembers(one: Asked): void {
  const query = queryOf(one, membersQuery);
  const page = answerOf(one, membersReply);
  if (query === undefined || page === undefined) return;
  check(!page.full || page.members.length === 0, 'who is to begin anew is told of members');
  let { after, afterId } = query;
  for (const { changed, nodeId } of page.members) {
    const isBehind = changed > after || (changed === after && Buffer.compare(nodeId, afterId) > 0);
    check(isBehind, 'members out of their order');
    [after, afterId] = [changed, nodeId];
  }
}
