import { beforeEach, describe, expect, it } from 'vitest';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { seconds } from '../../src/base/units.ts';
import { USER_SESSION_END, USER_SESSION_PREFIX } from '../../src/nodes/state-keys.ts';
import { readUserSession, userSessionKey } from '../../src/nodes/user-session-record.ts';
import { CHANGES_UNDER_WAY_MAX, LIFETIME_SECONDS_MAX, UserSessions } from '../../src/nodes/user-sessions.ts';
import {
  decodeMessage,
  encodeMessage,
  isFailure,
  QueryKind,
  ResultCode,
  sessionQuery,
  sessionReply,
  sessionWriteQuery,
} from '../../src/wire/index.ts';
import { ask, Bench, noAnswer } from './tenures-support.ts';

const TOKEN = new Uint8Array(16).fill(0x77);
const OTHER = new Uint8Array(16).fill(0x78);
const PEER = '10.0.0.7';
/** What a refusal says. */
const NOTHING = { number: 0, remainingSeconds: 0, stale: false, data: '' };

let bench: Bench;
let sessions: UserSessions;
beforeEach(() => {
  bench = new Bench();
  sessions = new UserSessions(bench.options);
});

const idOf = (n: number): Uint8Array => new Uint8Array(16).fill(n);

async function write(
  n: number,
  number: number,
  options: { token?: Uint8Array; lifetimeSeconds?: number; data?: string } = {},
): Promise<number> {
  const { token = TOKEN, lifetimeSeconds = 10, data = `${number}` } = options;
  const message = { id: idOf(n), token, number, lifetimeSeconds, data: utf8(data) };
  const body = encodeMessage(sessionWriteQuery, message);
  return (await ask((query) => sessions.write(PEER, query), QueryKind.SESSION_WRITE, body)).code;
}

async function end(n: number, token = TOKEN): Promise<number> {
  const body = encodeMessage(sessionQuery, { id: idOf(n), token });
  return (await ask((query) => sessions.end(PEER, query), QueryKind.SESSION_END, body)).code;
}

async function read(n: number, token = TOKEN) {
  const body = encodeMessage(sessionQuery, { id: idOf(n), token });
  const handle = async (query: Parameters<typeof readUserSession>[0]): Promise<void> => {
    if (!readUserSession(query, PEER, bench.options)) query.reply(ResultCode.NOT_FOUND);
  };
  const reply = await ask(handle, QueryKind.SESSION_READ, body);
  const answer = decodeMessage(sessionReply, reply.body);
  if (reply.code !== ResultCode.OK || isFailure(answer)) return { ...NOTHING, code: reply.code };
  return { ...answer, code: reply.code, data: Buffer.from(answer.data).toString() };
}

function succeed(): void {
  sessions.close();
  sessions = new UserSessions(bench.options);
}

async function sweep(spanMicros: number): Promise<void> {
  await bench.pass(spanMicros);
  await sessions.sweep();
}

describe('a user session', () => {
  it('is made by its first write, and read with the number of the last [USR-1]', async () => {
    expect(await write(1, 1)).toBe(ResultCode.OK);
    expect(await write(1, 2)).toBe(ResultCode.OK);
    expect(await read(1)).toEqual({
      code: ResultCode.OK,
      number: 2,
      remainingSeconds: 10,
      stale: false,
      data: '2',
    });
  });

  it('is not made by a later write: it has ended, or never was [USR-1]', async () => {
    expect(await write(1, 2)).toBe(ResultCode.NOT_FOUND);
    await write(1, 1);
    await end(1);
    expect([await write(1, 2), (await read(1)).code]).toEqual([ResultCode.NOT_FOUND, ResultCode.NOT_FOUND]);
  });

  it('is not written, read or ended with another token, and that is logged [USR-1]', async () => {
    await write(1, 1);
    expect(await write(1, 2, { token: OTHER })).toBe(ResultCode.DENIED);
    expect((await read(1, OTHER)).code).toBe(ResultCode.DENIED);
    expect(await end(1, OTHER)).toBe(ResultCode.DENIED);
    expect((await read(1)).data).toBe('1');
    expect(bench.warnings).toHaveLength(3);
    expect(JSON.stringify(bench.warnings)).not.toMatch(/777|787/);
  });

  it('stands in the state without its token [USR-1]', async () => {
    await write(1, 1);
    expect(toHex(bench.state.get(userSessionKey(idOf(1)))!)).not.toContain(toHex(TOKEN).slice(0, 16));
  });

  it('keeps 640 bytes [USR-2]', async () => {
    expect(await write(1, 1, { data: 'x'.repeat(640) })).toBe(ResultCode.OK);
    expect((await read(1)).data).toHaveLength(640);
    const longer = new Uint8Array(16 + 16 + 6 + 4 + 2 + 641);
    longer.set([0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0x81], 32);
    const { code } = await ask((query) => sessions.write(PEER, query), QueryKind.SESSION_WRITE, longer);
    expect(code).toBe(ResultCode.MALFORMED);
  });

  it('takes writes in the order in which they came, and repeated ones without effect [USR-3]', async () => {
    const codes = await Promise.all([write(1, 1), write(1, 3), write(1, 2), write(1, 3, { data: 'again' })]);
    expect(codes).toEqual([ResultCode.OK, ResultCode.OK, ResultCode.OK, ResultCode.OK]);
    expect(await read(1)).toMatchObject({ number: 3, data: '3' });
    expect(bench.commits).toBe(2);
  });

  it('is answered when it is durable, not before [USR-3]', async () => {
    const go = bench.hold();
    let answered = false;
    const written = write(1, 1).then(() => {
      answered = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect([answered, (await read(1)).code]).toEqual([false, ResultCode.NOT_FOUND]);
    go();
    await written;
  });

  it('is one of so many changes under way at once; one more is told to come later', async () => {
    const go = bench.hold();
    const writes = Array.from({ length: CHANGES_UNDER_WAY_MAX }, (_, index) => write(1, index + 1));
    expect(await write(1, CHANGES_UNDER_WAY_MAX + 1)).toBe(ResultCode.BUSY);
    go();
    expect(new Set(await Promise.all(writes))).toEqual(new Set([ResultCode.OK]));
    expect(await write(1, CHANGES_UNDER_WAY_MAX + 1)).toBe(ResultCode.OK);
  });

  it('is written once where the answer of a commit was lost [USR-3] [LEAD-6]', async () => {
    await write(1, 1);
    bench.instead.push(async (commit) => {
      await commit();
      throw noAnswer();
    });
    await expect(write(1, 2)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    expect(await write(1, 2, { data: 'again' })).toBe(ResultCode.OK);
    expect((await read(1)).data).toBe('2');
  });

  it.each([
    [0, 10],
    [1, 0],
    [1, LIFETIME_SECONDS_MAX + 1],
  ])('is not written under number %i with a lifetime of %i s', async (number, lifetimeSeconds) => {
    expect(await write(1, number, { lifetimeSeconds })).toBe(ResultCode.MALFORMED);
  });

  it('is refused as busy beyond the most, and there is room again when one ends [USR-5]', async () => {
    sessions.close();
    sessions = new UserSessions({ ...bench.options, sessionsMax: 2 });
    const codes = await Promise.all([write(1, 1), write(2, 1), write(3, 1)]);
    expect(codes).toEqual([ResultCode.OK, ResultCode.OK, ResultCode.BUSY]);
    expect(await write(1, 2)).toBe(ResultCode.OK);
    expect(await end(2)).toBe(ResultCode.OK);
    expect(await write(3, 1)).toBe(ResultCode.OK);
  });
});

describe('the end of a user session [USR-4]', () => {
  it('comes when its lifetime since the last write is over, and is logged', async () => {
    await write(1, 1);
    await sweep(seconds(9));
    expect((await read(1)).remainingSeconds).toBe(1);
    await write(1, 2);
    await sweep(seconds(9));
    expect((await read(1)).code).toBe(ResultCode.OK);
    await sweep(seconds(1));
    expect((await read(1)).code).toBe(ResultCode.NOT_FOUND);
    expect(await end(1)).toBe(ResultCode.NOT_FOUND);
    expect(bench.events).toEqual(['a user session has ended']);
    expect(sessions.size).toBe(0);
    expect([...bench.state.range(USER_SESSION_PREFIX, USER_SESSION_END, 10)]).toEqual([]);
  });

  it('is asked for, and found done when it is asked for again', async () => {
    await write(1, 1);
    expect([await end(1), await end(1)]).toEqual([ResultCode.OK, ResultCode.NOT_FOUND]);
    expect((await read(1)).code).toBe(ResultCode.NOT_FOUND);
  });

  it('does not come by a wall clock that was set, and what remains stays within a lifetime', async () => {
    await write(1, 1);
    const wallMillis = bench.clock.wallMillis();
    bench.clock.wallMillis = () => wallMillis + 1e9;
    await sweep(seconds(9));
    expect(await read(1)).toMatchObject({ code: ResultCode.OK, remainingSeconds: 0 });
    bench.clock.wallMillis = () => wallMillis - 1e9;
    expect((await read(1)).remainingSeconds).toBe(10);
  });

  it('comes a whole lifetime later in a new epoch', async () => {
    await write(1, 1);
    await bench.pass(seconds(9));
    succeed();
    await sweep(seconds(9));
    expect((await read(1)).code).toBe(ResultCode.OK);
    await sweep(seconds(1));
    expect((await read(1)).code).toBe(ResultCode.NOT_FOUND);
  });

  it('is tried again where the state did not answer; a write meanwhile makes a new one', async () => {
    await write(1, 1);
    await write(1, 5);
    bench.instead.push(() => Promise.reject(noAnswer()));
    await bench.pass(seconds(10));
    await expect(sessions.sweep()).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    expect(await write(1, 1)).toBe(ResultCode.OK);
    expect(await read(1)).toMatchObject({ number: 1, data: '1' });
  });

  it('does not wait for strangers', async () => {
    await write(1, 1);
    for (let second = 0; second < 9; second++) {
      await sweep(seconds(1));
      expect(await end(1, OTHER)).toBe(ResultCode.DENIED);
    }
    // Their questions are under way when the lifetime is over, each behind the one before.
    const asked = Array.from({ length: 20 }, () => end(1, OTHER));
    await sweep(seconds(1));
    expect(await write(1, 2)).toBe(ResultCode.NOT_FOUND);
    await Promise.all(asked);
    expect(bench.events).toContain('a user session has ended');
  });

  it('waits for a write that is under way', async () => {
    await write(1, 1);
    const go = bench.hold();
    const second = write(1, 2);
    await sweep(seconds(10));
    go();
    expect(await second).toBe(ResultCode.OK);
    await sweep(seconds(9));
    expect((await read(1)).data).toBe('2');
  });
});

describe('the end of an epoch [LEAD-2]', () => {
  it('sends those who write elsewhere', async () => {
    await write(1, 1);
    sessions.close();
    await expect(write(1, 2)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_LEADER' });
    await expect(end(1)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_LEADER' });
  });

  it('reads many sessions page by page, and none twice', async () => {
    const count = 1_300;
    const message = { token: TOKEN, number: 1, lifetimeSeconds: 10, data: utf8('x') };
    for (let n = 0; n < count; n += 100) {
      await Promise.all(
        Array.from({ length: 100 }, (_, index) => {
          const id = new Uint8Array(16);
          new DataView(id.buffer).setUint32(0, n + index);
          const body = encodeMessage(sessionWriteQuery, { id, ...message });
          return ask((query) => sessions.write(PEER, query), QueryKind.SESSION_WRITE, body);
        }),
      );
    }
    succeed();
    expect(sessions.size).toBeLessThan(count);
    await bench.pass(seconds(1));
    expect(sessions.size).toBe(count);
    await sweep(seconds(9));
    await sweep(seconds(1));
    expect(sessions.size).toBe(0);
  });
});
