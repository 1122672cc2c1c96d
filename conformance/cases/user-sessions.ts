/** User sessions: written, read, resumed by their token, and ended. */

import { QueryKind, ResultCode } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import { eventually, expectCode } from './coordinator-steps.ts';
import {
  begin,
  DATA_BYTES_MAX,
  endSession,
  finish,
  LIFETIME_SECONDS_MAX,
  type Owner,
  ownerBody,
  readSession,
  withOwner,
  write,
  writeBody,
} from './tenure-steps.ts';

const NO_DATA = new Uint8Array(0);
const WRITES_AT_ONCE = 20;

async function expectGone(client: RawSession, owner: Owner, clause: string): Promise<void> {
  for (const kind of [QueryKind.SESSION_READ, QueryKind.SESSION_END]) {
    await expectCode(client, kind, ownerBody(owner), ResultCode.NOT_FOUND, clause);
  }
}

const texts: readonly CaseText[] = [
  withOwner(
    'what was written is read, on another session, too',
    ['USR-1', 'USR-4'],
    async (context, client, owner) => {
      const data = context.random(DATA_BYTES_MAX);
      await write(client, owner, { number: 1, data, lifetimeSeconds: 100 }, 'USR-1');
      const other = await context.connect();
      for (const session of [client, other]) {
        const read = await readSession(session, owner, 'USR-1');
        expectBytes(read.data, data, 'the data', 'USR-1');
        expectThat(read.number === 1, 'number 1', `${read.number}`, 'USR-3');
        const { remainingSeconds } = read;
        expectThat(
          remainingSeconds > 50 && remainingSeconds <= 100,
          'some 100 s',
          `${remainingSeconds}`,
          'USR-4',
        );
      }
      await endSession(client, owner, 'USR-4');
    },
  ),
  withOwner('a later write replaces the data', ['USR-1', 'USR-3'], async (context, client, owner) => {
    for (const [index, bytes] of [100, 0, 1, DATA_BYTES_MAX].entries()) {
      const data = context.random(bytes);
      await write(client, owner, { number: index + 1, data }, 'USR-1');
      const read = await readSession(client, owner, 'USR-1');
      expectBytes(read.data, data, 'the data', 'USR-1');
      expectThat(read.number === index + 1, `number ${index + 1}`, `${read.number}`, 'USR-3');
    }
    await endSession(client, owner, 'USR-4');
  }),
  withOwner(
    'a number that is not greater has no effect, not on the lifetime either, and is OK',
    ['USR-3', 'LEAD-6'],
    async (context, client, owner) => {
      const data = context.random(10);
      await write(client, owner, { number: 1, data: NO_DATA }, 'USR-1');
      await write(client, owner, { number: 5, data, lifetimeSeconds: 100 }, 'USR-1');
      for (const number of [5, 4, 1]) {
        const late = { number, data: context.random(20), lifetimeSeconds: 10_000 };
        await write(client, owner, late, 'USR-3');
      }
      const read = await readSession(client, owner, 'USR-3');
      expectBytes(read.data, data, 'the data', 'USR-3');
      expectThat(read.number === 5, 'number 5', `${read.number}`, 'USR-3');
      const { remainingSeconds } = read;
      expectThat(remainingSeconds <= 100, '100 s at most', `${remainingSeconds}`, 'USR-3');
      await endSession(client, owner, 'USR-4');
    },
  ),
  withOwner(
    'writes that are under way at once leave the one with the greatest number',
    ['USR-3'],
    async (_, client, owner) => {
      await write(client, owner, { number: 1, data: NO_DATA }, 'USR-1');
      const numbers = Array.from({ length: WRITES_AT_ONCE }, (_unused, index) => index + 1);
      const begun = numbers.map((number) =>
        begin(client, QueryKind.SESSION_WRITE, writeBody(owner, { number, data: Uint8Array.of(number) })),
      );
      for (const asked of begun) await finish(client, asked, 'USR-3');
      const read = await readSession(client, owner, 'USR-3');
      expectThat(read.number === WRITES_AT_ONCE, `number ${WRITES_AT_ONCE}`, `${read.number}`, 'USR-3');
      expectBytes(read.data, Uint8Array.of(WRITES_AT_ONCE), 'the data', 'USR-3');
      await endSession(client, owner, 'USR-4');
    },
  ),
  withOwner('another token is DENIED, and changes nothing', ['USR-1'], async (context, client, owner) => {
    const data = context.random(30);
    await write(client, owner, { number: 1, data }, 'USR-1');
    const thief = { ...owner, token: context.random(16) };
    const stolen = writeBody(thief, { number: 2, data: NO_DATA });
    await expectCode(client, QueryKind.SESSION_WRITE, stolen, ResultCode.DENIED, 'USR-1');
    // Also one that would have no effect.
    const repeated = writeBody(thief, { number: 1, data });
    await expectCode(client, QueryKind.SESSION_WRITE, repeated, ResultCode.DENIED, 'USR-1');
    for (const kind of [QueryKind.SESSION_READ, QueryKind.SESSION_END]) {
      const body = await expectCode(client, kind, ownerBody(thief), ResultCode.DENIED, 'USR-1');
      expectThat(body.length === 0, 'an empty body', `${body.length} bytes`, 'DEFS-1');
    }
    const read = await readSession(client, owner, 'USR-1');
    expectBytes(read.data, data, 'the data', 'USR-1');
    await endSession(client, owner, 'USR-4');
  }),
  withOwner(
    'a session that was ended, and one that never was, are NOT_FOUND, to a later write, too',
    ['USR-1', 'USR-4'],
    async (context, client, owner) => {
      const late = writeBody(owner, { number: 2, data: NO_DATA });
      await expectGone(client, owner, 'USR-4');
      await expectCode(client, QueryKind.SESSION_WRITE, late, ResultCode.NOT_FOUND, 'USR-1');
      await write(client, owner, { number: 1, data: NO_DATA }, 'USR-1');
      await endSession(client, owner, 'USR-4');
      await expectGone(client, owner, 'USR-4');
      await expectCode(client, QueryKind.SESSION_WRITE, late, ResultCode.NOT_FOUND, 'USR-1');
      // Whoever makes it anew begins anew, with a token and numbers of its own.
      const next = { ...owner, token: context.random(16) };
      await write(client, next, { number: 1, data: NO_DATA }, 'USR-1');
      const { number } = await readSession(client, next, 'USR-1');
      expectThat(number === 1, 'number 1', `${number}`, 'USR-3');
      await endSession(client, next, 'USR-4');
    },
  ),
  withOwner('a session ends when its lifetime is over', ['USR-4'], async (context, client, owner) => {
    await write(client, owner, { number: 1, data: NO_DATA, lifetimeSeconds: 1 }, 'USR-1');
    const isOver = async (): Promise<boolean> => {
      const { code } = await client.ask(QueryKind.SESSION_READ, ownerBody(owner), 'USR-4');
      return code === ResultCode.NOT_FOUND;
    };
    await eventually(client, isOver, 'NOT_FOUND after its lifetime', 'USR-4');
    const next = { ...owner, token: context.random(16) };
    await write(client, next, { number: 1, data: NO_DATA }, 'USR-4');
    await endSession(client, next, 'USR-4');
  }),
  withOwner('a lifetime of a year is taken, as it is', ['USR-1', 'USR-2'], async (_, client, owner) => {
    const lifetimeSeconds = LIFETIME_SECONDS_MAX;
    await write(client, owner, { number: 1, data: NO_DATA, lifetimeSeconds }, 'USR-2');
    const { remainingSeconds } = await readSession(client, owner, 'USR-4');
    const isWhole = remainingSeconds <= lifetimeSeconds && remainingSeconds > lifetimeSeconds - 60;
    expectThat(isWhole, `some ${lifetimeSeconds} s`, `${remainingSeconds}`, 'USR-4');
    await endSession(client, owner, 'USR-4');
  }),
];

export const userSessionCases = section('user sessions', 701, texts);
