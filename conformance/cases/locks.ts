/** Locks: who stands where, who holds, and how a place comes to its end. */

import { type Frame, FrameType, QueryKind, ResultCode } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import { expectCode } from './coordinator-steps.ts';
import {
  beginLock,
  CLOCK_SLACK,
  type Claim,
  claim,
  expectHeld,
  finish,
  finishLock,
  hold,
  LEASE_MILLIS,
  LEASE_MILLIS_MAX,
  LEASE_MILLIS_MIN,
  lock,
  lockBody,
  queue,
  unlock,
  withLock,
} from './tenure-steps.ts';

const PLACES_MAX = 1_024;
/** So many fit a datagram. */
const QUERIES_PER_PACKET = 12;
/** Far more than an answer takes that nobody has to wait for. */
const LONG_WAIT_MILLIS = 20_000;
const SHORT_WAIT_MILLIS = 400;
/** Renewed soon enough that the answers of a busy machine may come late. */
const RENEWED_LEASE_MILLIS = 1_500;
const RENEWED_AFTER_MILLIS = 600;

/** A holder, and somebody who waits behind it. */
async function holderAndWaiter(
  context: WireContext,
  client: RawSession,
  name: string,
): Promise<{ readonly holder: Claim; readonly waiter: Claim; readonly fencing: number }> {
  const [holder, waiter] = [claim(context, name), claim(context, name)];
  const { fencing } = await hold(client, holder, 'LOCK-2');
  await queue(client, waiter, 1, 'LOCK-2');
  return { holder, waiter, fencing };
}

async function expectExpired(client: RawSession, wanted: Claim, clause: string): Promise<void> {
  await expectCode(client, QueryKind.LOCK, lockBody(wanted), ResultCode.EXPIRED, clause);
}

/** Asks for all these places at once, again where an answer is missing; how many are answered OK. */
async function lockAll(client: RawSession, wanted: readonly Claim[]): Promise<number> {
  const asked = wanted.map((one): Extract<Frame, { type: typeof FrameType.QUERY }> => {
    const id = client.queryId();
    return { type: FrameType.QUERY, id, kind: QueryKind.LOCK, body: lockBody(one) };
  });
  const codes = (): Map<number, number> =>
    new Map(client.frames(FrameType.REPLY).map(({ id, code }) => [id, code]));
  const send = (): void => {
    const answered = codes();
    const missing = asked.filter(({ id }) => !answered.has(id));
    for (let at = 0; at < missing.length; at += QUERIES_PER_PACKET) {
      client.send(missing.slice(at, at + QUERIES_PER_PACKET));
    }
  };
  send();
  const look = (): number[] | undefined => {
    const answered = codes();
    return answered.size < asked.length ? undefined : asked.map(({ id }) => answered.get(id)!);
  };
  const all = await client.until(look, `${asked.length} answers`, { clause: 'LOCK-6', again: send });
  return all.filter((code) => code === ResultCode.OK).length;
}

const texts: readonly CaseText[] = [
  withLock(
    'a lock that is free is held at once, whatever the wait',
    ['LOCK-3', 'LOCK-2'],
    async (context, client, name) => {
      const wanted = claim(context, name);
      const place = await lock(client, wanted, 'LOCK-3', LONG_WAIT_MILLIS);
      expectHeld(place, 'LOCK-2');
      expectThat(place.ahead === 0, 'nobody ahead', `${place.ahead}`, 'LOCK-2');
      const { leaseMillis } = place;
      expectThat(leaseMillis === LEASE_MILLIS, `a lease of ${LEASE_MILLIS} ms`, `${leaseMillis}`, 'LOCK-3');
      await unlock(client, wanted, 'LOCK-5', place.fencing);
    },
  ),
  withLock(
    'places stand in the order in which they came, and move up in it',
    ['LOCK-2'],
    async (context, client, name) => {
      const [first, second, third, last] = [0, 1, 2, 3].map(() => claim(context, name)) as [
        Claim,
        Claim,
        Claim,
        Claim,
      ];
      await hold(client, first, 'LOCK-2');
      await queue(client, second, 1, 'LOCK-2');
      await queue(client, third, 2, 'LOCK-2');
      await queue(client, last, 3, 'LOCK-2');
      await unlock(client, first, 'LOCK-5');
      await queue(client, third, 1, 'LOCK-2');
      await hold(client, second, 'LOCK-2');
      // Who waits gives its place back as who holds does.
      await unlock(client, third, 'LOCK-5');
      await queue(client, last, 1, 'LOCK-2');
      await unlock(client, second, 'LOCK-5');
      await hold(client, last, 'LOCK-2');
      await unlock(client, last, 'LOCK-5');
    },
  ),
  withLock('shared places hold together', ['LOCK-2', 'LOCK-4'], async (context, client, name) => {
    const readers = [0, 1, 2].map(() => claim(context, name, { shared: true }));
    let before = 0;
    for (const reader of readers) {
      const { fencing } = await hold(client, reader, 'LOCK-2');
      expectThat(fencing > before, `a fencing token above ${before}`, `${fencing}`, 'LOCK-4');
      before = fencing;
    }
    for (const reader of readers) await unlock(client, reader, 'LOCK-5');
  }),
  withLock(
    'an exclusive place waits for all shared ones before it, and a shared one for it',
    ['LOCK-2'],
    async (context, client, name) => {
      const [first, second, late] = [0, 1, 2].map(() => claim(context, name, { shared: true })) as [
        Claim,
        Claim,
        Claim,
      ];
      const writer = claim(context, name);
      await hold(client, first, 'LOCK-2');
      await hold(client, second, 'LOCK-2');
      await queue(client, writer, 2, 'LOCK-2');
      await queue(client, late, 3, 'LOCK-2');
      await unlock(client, first, 'LOCK-5');
      await queue(client, writer, 1, 'LOCK-2');
      await unlock(client, second, 'LOCK-5');
      await hold(client, writer, 'LOCK-2');
      await queue(client, late, 1, 'LOCK-2');
      await unlock(client, writer, 'LOCK-5');
      await hold(client, late, 'LOCK-2');
      await unlock(client, late, 'LOCK-5');
    },
  ),
  withLock(
    'the same token again has the same place, whatever lease it names',
    ['LOCK-3', 'LOCK-1'],
    async (context, client, name) => {
      const wanted = claim(context, name);
      const { fencing } = await hold(client, wanted, 'LOCK-2');
      const again = await hold(client, { ...wanted, leaseMillis: LEASE_MILLIS_MIN }, 'LOCK-3');
      expectThat(again.fencing === fencing, `fencing token ${fencing}`, `${again.fencing}`, 'LOCK-3');
      const { leaseMillis } = again;
      expectThat(leaseMillis === LEASE_MILLIS, `the lease of ${LEASE_MILLIS} ms`, `${leaseMillis}`, 'LOCK-3');
      await unlock(client, wanted, 'LOCK-5', fencing);
    },
  ),
  withLock(
    'one token on two sessions at once has one place',
    ['LOCK-1', 'LEAD-6'],
    async (context, client, name) => {
      const other = await context.connect();
      await other.checkAlive();
      const wanted = claim(context, name);
      const begun = [client, other, client, other].map((session) => ({
        session,
        asked: beginLock(session, wanted, 0),
      }));
      const tokens = new Set<number>();
      for (const { session, asked } of begun) {
        tokens.add((await finishLock(session, asked, 'LOCK-1')).fencing);
      }
      expectThat(tokens.size === 1, 'one fencing token', [...tokens].join(', '), 'LOCK-1');
      await unlock(client, wanted, 'LOCK-5');
      const next = claim(context, name);
      await hold(client, next, 'LOCK-1');
      await unlock(client, next, 'LOCK-5');
    },
  ),
  withLock('asked again, a place begins its lease anew', ['LOCK-3'], async (context, client, name) => {
    const wanted = claim(context, name, { leaseMillis: RENEWED_LEASE_MILLIS });
    const { fencing } = await hold(client, wanted, 'LOCK-3');
    for (let round = 0; round < 3; round++) {
      await client.idle(RENEWED_AFTER_MILLIS);
      const again = await hold(client, wanted, 'LOCK-3');
      expectThat(again.fencing === fencing, `the place ${fencing}`, `${again.fencing}`, 'LOCK-3');
    }
    await unlock(client, wanted, 'LOCK-5');
  }),
  withLock(
    'the same token with another flag is MALFORMED, and keeps its place',
    ['LOCK-3'],
    async (context, client, name) => {
      const wanted = claim(context, name);
      const { fencing } = await hold(client, wanted, 'LOCK-3');
      const other = lockBody({ ...wanted, shared: true });
      await expectCode(client, QueryKind.LOCK, other, ResultCode.MALFORMED, 'LOCK-3');
      const again = await hold(client, wanted, 'LOCK-3');
      expectThat(again.fencing === fencing, `the place ${fencing}`, `${again.fencing}`, 'LOCK-3');
      await unlock(client, wanted, 'LOCK-5');
    },
  ),
  withLock(
    'leases from 1,000 ms to an hour, and names of 80 bytes, are taken',
    ['LOCK-1', 'LOCK-6'],
    async (context, client, name) => {
      const long = `${name}${'é'.repeat(26)}`;
      for (const [of, leaseMillis] of [
        [name, LEASE_MILLIS_MIN],
        [long, LEASE_MILLIS_MAX],
      ] as const) {
        const wanted = claim(context, of, { leaseMillis });
        const place = await hold(client, wanted, 'LOCK-6');
        expectThat(place.leaseMillis === leaseMillis, `${leaseMillis} ms`, `${place.leaseMillis}`, 'LOCK-3');
        await unlock(client, wanted, 'LOCK-5');
      }
    },
  ),
  withLock(
    'locks of different names know nothing of each other',
    ['LOCK-1'],
    async (context, client, name) => {
      const wanted = claim(context, name);
      const other = { ...wanted, name: `${name}\0` };
      await hold(client, wanted, 'LOCK-1');
      await hold(client, other, 'LOCK-1');
      await unlock(client, wanted, 'LOCK-5');
      // The same token has not given back its other place.
      await hold(client, other, 'LOCK-1');
      await unlock(client, other, 'LOCK-5');
    },
  ),
  withLock(
    'fencing tokens grow from holder to holder, also when the queue was empty between',
    ['LOCK-4'],
    async (context, client, name) => {
      let before = 0;
      for (let round = 0; round < 5; round++) {
        const wanted = claim(context, name);
        const { fencing } = await hold(client, wanted, 'LOCK-4');
        expectThat(fencing > before, `a fencing token above ${before}`, `${fencing}`, 'LOCK-4');
        before = fencing;
        await unlock(client, wanted, 'LOCK-5', fencing);
      }
    },
  ),
  withLock(
    'a LOCK that waits is answered when the holder gives the lock back',
    ['LOCK-3', 'LOCK-2', 'LOCK-4'],
    async (context, client, name) => {
      const { holder, waiter, fencing } = await holderAndWaiter(context, client, name);
      const other = await context.connect();
      const asked = beginLock(other, waiter, LONG_WAIT_MILLIS);
      await other.checkAlive();
      await unlock(client, holder, 'LOCK-5', fencing);
      const place = await finishLock(other, asked, 'LOCK-3');
      expectHeld(place, 'LOCK-3');
      expectThat(place.fencing > fencing, `more than ${fencing}`, `${place.fencing}`, 'LOCK-4');
      await unlock(other, waiter, 'LOCK-5');
    },
  ),
  withLock(
    'a LOCK is answered when its wait is over, and not before',
    ['LOCK-3'],
    async (context, client, name) => {
      const { holder, waiter } = await holderAndWaiter(context, client, name);
      const beganAt = performance.now();
      const place = await lock(client, waiter, 'LOCK-3', SHORT_WAIT_MILLIS);
      const tookMillis = performance.now() - beganAt;
      expectThat(!place.held && place.ahead === 1, 'a place that waits still', 'another', 'LOCK-3');
      const leastMillis = SHORT_WAIT_MILLIS * CLOCK_SLACK;
      expectThat(tookMillis >= leastMillis, `no answer for ${leastMillis} ms`, `${tookMillis}`, 'LOCK-3');
      await unlock(client, holder, 'LOCK-5');
      await hold(client, waiter, 'LOCK-3');
      await unlock(client, waiter, 'LOCK-5');
    },
  ),
  withLock(
    'a place whose lease has ended goes, and the next one holds the lock, not before',
    ['LOCK-3', 'LOCK-4'],
    async (context, client, name) => {
      const holder = claim(context, name, { leaseMillis: LEASE_MILLIS_MIN });
      const waiter = claim(context, name);
      const beganAt = performance.now();
      const { fencing } = await hold(client, holder, 'LOCK-3');
      const place = await lock(client, waiter, 'LOCK-3', LONG_WAIT_MILLIS);
      const tookMillis = performance.now() - beganAt;
      expectHeld(place, 'LOCK-3');
      const leastMillis = LEASE_MILLIS_MIN * CLOCK_SLACK;
      expectThat(tookMillis >= leastMillis, `nobody else for ${leastMillis} ms`, `${tookMillis}`, 'LOCK-3');
      expectThat(place.fencing > fencing, `more than ${fencing}`, `${place.fencing}`, 'LOCK-4');
      await unlock(client, waiter, 'LOCK-5');
    },
  ),
  withLock(
    'a LOCK that waits is EXPIRED when the lease of its place ends',
    ['LOCK-3'],
    async (context, client, name) => {
      const holder = claim(context, name);
      await hold(client, holder, 'LOCK-3');
      const waiter = claim(context, name, { leaseMillis: LEASE_MILLIS_MIN });
      const body = lockBody(waiter, LONG_WAIT_MILLIS);
      await expectCode(client, QueryKind.LOCK, body, ResultCode.EXPIRED, 'LOCK-3');
      await unlock(client, holder, 'LOCK-5');
    },
  ),
  withLock(
    'a stranger cannot give a lock back that somebody holds',
    ['LOCK-5'],
    async (context, client, name) => {
      const { holder, fencing, waiter } = await holderAndWaiter(context, client, name);
      for (const said of [0, fencing]) {
        await unlock(client, claim(context, name), 'LOCK-5', said, ResultCode.DENIED);
      }
      await queue(client, waiter, 1, 'LOCK-5');
      await hold(client, holder, 'LOCK-5');
      await unlock(client, holder, 'LOCK-5');
      await unlock(client, waiter, 'LOCK-5');
    },
  ),
  withLock(
    'UNLOCK with another fencing token is STALE_EPOCH, and gives nothing back',
    ['LOCK-5'],
    async (context, client, name) => {
      const { holder, waiter, fencing } = await holderAndWaiter(context, client, name);
      for (const said of [fencing + 1, fencing + 1_000_000]) {
        await unlock(client, holder, 'LOCK-5', said, ResultCode.STALE_EPOCH);
      }
      await queue(client, waiter, 1, 'LOCK-5');
      await unlock(client, holder, 'LOCK-5', fencing);
      await hold(client, waiter, 'LOCK-5');
      await unlock(client, waiter, 'LOCK-5');
    },
  ),
  withLock(
    'UNLOCK that is repeated, and one of a lock that nobody holds, are answered OK',
    ['LOCK-5', 'LEAD-6'],
    async (context, client, name) => {
      const wanted = claim(context, name);
      const { fencing } = await hold(client, wanted, 'LOCK-2');
      for (let round = 0; round < 3; round++) await unlock(client, wanted, 'LOCK-5', fencing);
      await unlock(client, claim(context, name), 'LOCK-5');
    },
  ),
  withLock('a token that was given back is not used again', ['LOCK-5'], async (context, client, name) => {
    const { holder, waiter } = await holderAndWaiter(context, client, name);
    await unlock(client, holder, 'LOCK-5');
    await expectExpired(client, holder, 'LOCK-5');
    await unlock(client, waiter, 'LOCK-5');
    await expectExpired(client, waiter, 'LOCK-5');
    const next = claim(context, name);
    await hold(client, next, 'LOCK-5');
    await unlock(client, next, 'LOCK-5');
  }),
  withLock(
    'a LOCK that waits is EXPIRED when its own token is given back',
    ['LOCK-5', 'LOCK-3'],
    async (context, client, name) => {
      const { holder, waiter } = await holderAndWaiter(context, client, name);
      const asked = beginLock(client, waiter, LONG_WAIT_MILLIS);
      await client.checkAlive();
      await unlock(client, waiter, 'LOCK-5');
      await finish(client, asked, 'LOCK-5', ResultCode.EXPIRED);
      await unlock(client, holder, 'LOCK-5');
    },
  ),
  withLock(
    'a lock has 1,024 places, and one more is BUSY',
    ['LOCK-6', 'MSG-10'],
    async (context, client, name) => {
      const wanted = Array.from({ length: PLACES_MAX }, () => claim(context, name));
      const taken = await lockAll(client, wanted);
      expectThat(taken === PLACES_MAX, `${PLACES_MAX} places`, `${taken}`, 'LOCK-6');
      const beyond = lockBody(claim(context, name));
      await expectCode(client, QueryKind.LOCK, beyond, ResultCode.BUSY, 'LOCK-6');
      // Those that are there are renewed as ever.
      await lock(client, wanted[0]!, 'LOCK-6');
    },
  ),
  withLock('a stranger is DENIED as often as it asks', ['LOCK-5'], async (context, client, name) => {
    const [holder, stranger] = [claim(context, name), claim(context, name)];
    await hold(client, holder, 'LOCK-2');
    for (let round = 0; round < 3; round++) {
      await unlock(client, stranger, 'LOCK-5', 0, ResultCode.DENIED);
    }
    await unlock(client, holder, 'LOCK-5');
  }),
];

export const lockCases = section('locks', 661, texts);
