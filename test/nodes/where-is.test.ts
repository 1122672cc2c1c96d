/** How a client asks where objects are: what shares a query, what does not wait, and what becomes of each. */

import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { ObjectPlaces } from '../../src/nodes/places.ts';
import { BATCHES_MAX, MANY_WINDOW, QUESTIONS_MAX } from '../../src/nodes/where-is.ts';
import {
  decodeMessage,
  encodeMessage,
  isFailure,
  QueryKind,
  ResultCode,
  WHERE_IS_HASHES_MAX,
  type WhereIsAnswer,
  whereIsManyQuery,
  whereIsManyReply,
  whereIsReply,
} from '../../src/wire/index.ts';
import { type Answers, type Question, reply, scriptedClient, silence } from './client-support.ts';

const LOCATIONS = [1, 2].map((n) => ({ nodeId: new Uint8Array(16).fill(n), address: `10.0.0.${n}:1` }));
const MISSING = 3;

/** A name that says which object it is. */
function name(n: number): Uint8Array {
  const hash = new Uint8Array(32);
  new DataView(hash.buffer).setUint32(28, n);
  return hash;
}

function numberOf(hash: Uint8Array): number {
  return new DataView(hash.buffer, hash.byteOffset).getUint32(28);
}

/** An object's size is its number; number 3 is missing, 4 lost, 5 not to be told now. */
function answerOf(n: number): WhereIsAnswer {
  if (n === MISSING) return { code: ResultCode.NOT_FOUND };
  if (n === 4) return { code: ResultCode.CORRUPT };
  if (n === 5) return { code: ResultCode.BUSY, retryMillis: 77 };
  return { code: ResultCode.OK, bytes: n, replicas: n % 2 === 0 ? [1, 0] : [0] };
}

/** How many hashes each query of a coordinator had that answers at most `answersMax` of one. */
function coordinator(answersMax: number = WHERE_IS_HASHES_MAX) {
  const asked: { readonly kind: number; readonly hashes: number }[] = [];
  const answer = ({ kind, body }: Question): ReturnType<Answers['answer']> => {
    if (kind === QueryKind.WHERE_IS) {
      asked.push({ kind, hashes: 1 });
      const found = answerOf(numberOf(body));
      if (found.code !== ResultCode.OK) return reply(found.code);
      const locations = found.replicas.map((index) => LOCATIONS[index]!);
      return reply(
        0,
        encodeMessage(whereIsReply, { bytes: found.bytes, revision: 9, stale: false, locations }),
      );
    }
    const message = decodeMessage(whereIsManyQuery, body);
    if (isFailure(message)) throw new Error('not a query');
    asked.push({ kind, hashes: message.hashes.length });
    const answers = message.hashes.slice(0, answersMax).map((hash) => answerOf(numberOf(hash)));
    return reply(
      0,
      encodeMessage(whereIsManyReply, { revision: 9, stale: false, locations: LOCATIONS, answers }),
    );
  };
  return { asked, answer };
}

const upTo = (count: number): Uint8Array[] => Array.from({ length: count }, (_, n) => name(n));

describe('a client that looks for objects', () => {
  it('asks for a lone one by WHERE_IS, in the turn in which it is called', async () => {
    const { asked, answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    const { value, tookMicros } = await finish(client.whereIs(name(8)));
    expect(asked).toEqual([{ kind: QueryKind.WHERE_IS, hashes: 1 }]);
    expect(tookMicros).toBe(0);
    expect(JSON.parse(JSON.stringify(value))).toEqual({
      hash: toHex(name(8)),
      bytes: 8,
      revision: 9,
      stale: false,
      replicas: [
        { nodeId: '02'.repeat(16), address: '10.0.0.2:1' },
        { nodeId: '01'.repeat(16), address: '10.0.0.1:1' },
      ],
    });
  });

  it('leaves before the loop turns', async () => {
    const { asked, answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    await finish(client.whereIs(name(1)));
    let hasTurned = false;
    setImmediate(() => {
      hasTurned = true;
    });
    await client.whereIs(name(2));
    expect([asked.length, hasTurned]).toEqual([2, false]);
  });

  it('shares queries between calls of one turn, and answers each as a lone one', async () => {
    const { asked, answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    const calls = upTo(40).map((hash, n) => client.whereIs(n % 2 === 0 ? hash : toHex(hash).toUpperCase()));
    const { value: outcomes } = await finish(Promise.allSettled(calls));
    expect(asked).toEqual([
      { kind: QueryKind.WHERE_IS_MANY, hashes: 31 },
      { kind: QueryKind.WHERE_IS_MANY, hashes: 9 },
    ]);
    for (const [n, outcome] of outcomes!.entries()) {
      if (outcome.status === 'rejected') {
        const alone = await finish(client.whereIs(name(n)));
        expect(outcome.reason).toMatchObject({
          code: (alone.error as GramlineError).code,
          message: (alone.error as GramlineError).message,
        });
        continue;
      }
      const alone = await finish(client.whereIs(name(n)));
      expect(JSON.stringify(outcome.value)).toBe(JSON.stringify(alone.value));
      expect([...outcome.value].length).toBe(n % 2 === 0 ? 2 : 1);
    }
    expect(outcomes!.filter(({ status }) => status === 'rejected')).toHaveLength(3);
  });

  it('makes one replica of each location of a reply', async () => {
    const { answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    const { value } = await finish(client.whereIsMany([name(6), name(8)]));
    const [one, other] = value as ObjectPlaces[];
    expect(one!.replicas[0]).toBe(other!.replicas[0]);
    expect(one!.replicas).toBe(one!.replicas);
  });

  it('asks again for what found no room in the reply [DEFS-28]', async () => {
    const { asked, answer } = coordinator(7);
    const { client, finish } = scriptedClient({ answer });
    const { value } = await finish(client.whereIsMany(upTo(31)));
    expect(value!.map((outcome) => (outcome instanceof ObjectPlaces ? outcome.hash : outcome.code))).toEqual(
      upTo(31).map((hash, n) =>
        n === MISSING
          ? 'GRAMLINE_NOT_FOUND'
          : n === 4
            ? 'GRAMLINE_CORRUPT'
            : n === 5
              ? 'GRAMLINE_BUSY'
              : toHex(hash),
      ),
    );
    expect(value![5]).toMatchObject({ retryAfterMillis: 77, retryable: true });
    expect(asked.map(({ hashes }) => hashes)).toEqual([31, 24, 17, 10, 3]);
  });

  it('takes a coordinator at its word that answers all but one, again and again', async () => {
    const { asked, answer } = coordinator(1);
    const { client, finish } = scriptedClient({ answer });
    const { value } = await finish(client.whereIsMany([name(6), name(7), name(8)]));
    expect(value!.map((outcome) => (outcome as ObjectPlaces).bytes)).toEqual([6, 7, 8]);
    expect(asked.map(({ hashes }) => hashes)).toEqual([3, 2, 1]);
  });

  it('refuses what is no answer, for every call that it concerns', async () => {
    const answers = upTo(3).map(() => ({ code: ResultCode.NOT_FOUND }));
    const bodies = [
      encodeMessage(whereIsManyReply, { revision: 1, stale: false, locations: [], answers }),
      new Uint8Array(0),
      new Uint8Array(1_024).fill(255),
    ];
    for (const body of bodies) {
      const { client, finish } = scriptedClient({ answer: () => reply(0, body) });
      const { value } = await finish(Promise.allSettled([client.whereIs(name(1)), client.whereIs(name(2))]));
      expect(value!.map((outcome) => outcome.status === 'rejected' && outcome.reason.code)).toEqual([
        'GRAMLINE_PROTOCOL',
        'GRAMLINE_PROTOCOL',
      ]);
    }
  });

  it('passes on that a coordinator is busy, or does not allow it', async () => {
    const { client, finish } = scriptedClient({ answer: () => reply(ResultCode.DENIED) });
    const { value } = await finish(Promise.allSettled([client.whereIs(name(1)), client.whereIs(name(2))]));
    expect(value).toMatchObject([
      { reason: { code: 'GRAMLINE_DENIED' } },
      { reason: { code: 'GRAMLINE_DENIED' } },
    ]);
    expect((await finish(client.whereIsMany([name(1), name(2)]))).error).toMatchObject({
      code: 'GRAMLINE_DENIED',
    });
  });

  it('refuses a bad hash alone, and the rest goes', async () => {
    const { asked, answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    const bad = ['no hash', 'g'.repeat(64), `${'a'.repeat(63)}\u0141`, new Uint8Array(31)];
    const calls = Promise.allSettled([name(1), ...bad, name(2)].map((hash) => client.whereIs(hash)));
    const { value } = await finish(calls);
    expect(value!.map(({ status }) => status)).toEqual([
      'fulfilled',
      ...bad.map(() => 'rejected'),
      'fulfilled',
    ]);
    expect(value![1]).toMatchObject({ reason: { code: 'GRAMLINE_INVALID' } });
    expect(asked).toEqual([{ kind: QueryKind.WHERE_IS_MANY, hashes: 2 }]);
    expect((await finish(client.whereIsMany([name(1), 'no hash']))).error).toMatchObject({
      code: 'GRAMLINE_INVALID',
    });
  });

  it('is not moved by a caller who changes the bytes of a hash afterwards', async () => {
    const { answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    const hash = name(6);
    const call = client.whereIs(hash);
    hash.fill(1);
    expect((await finish(call)).value).toMatchObject({ bytes: 6, hash: toHex(name(6)) });
  });

  it('asks for nothing where the list is empty', async () => {
    const { asked, answer } = coordinator();
    const { client, finish } = scriptedClient({ answer });
    expect((await finish(client.whereIsMany([]))).value).toEqual([]);
    expect(asked).toEqual([]);
  });

  it('has at most its maximum of batches under way, and fills the next ones meanwhile', async () => {
    const { asked, answer } = coordinator();
    const waiting: (() => void)[] = [];
    const { client, finish } = scriptedClient({
      answer: async (question) => {
        const answered = answer(question);
        await new Promise<void>((resolve) => waiting.push(resolve));
        return answered;
      },
    });
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const calls: Promise<unknown>[] = [];
    for (let n = 10; n < 10 + BATCHES_MAX + 20; n++) {
      calls.push(client.whereIs(name(n)));
      await turn();
    }
    // One a turn: each left alone, as long as it could.
    expect(asked).toHaveLength(BATCHES_MAX);
    waiting.shift()!();
    await turn();
    expect(asked.at(-1)).toEqual({ kind: QueryKind.WHERE_IS_MANY, hashes: 20 });
    while (waiting.length > 0) {
      waiting.shift()!();
      await turn();
    }
    expect((await finish(Promise.all(calls))).value).toHaveLength(BATCHES_MAX + 20);
  });

  it('keeps to its window with a long list, and leaves room for others', async () => {
    const { asked, answer } = coordinator();
    let under = 0;
    let most = 0;
    const { client, finish } = scriptedClient({
      answer: async (question) => {
        const answered = await answer(question);
        const { hashes } = asked.at(-1)!;
        under += hashes;
        most = Math.max(most, under);
        await new Promise((resolve) => setImmediate(resolve));
        under -= hashes;
        return answered;
      },
    });
    const list = upTo(MANY_WINDOW * 3 + 5).map((_, n) => name(n + 6));
    const outcomes = await client.whereIsMany(list);
    expect(outcomes.map((outcome) => (outcome as ObjectPlaces).bytes)).toEqual(list.map((_, n) => n + 6));
    expect(most).toBeLessThanOrEqual(Math.min(MANY_WINDOW, BATCHES_MAX * WHERE_IS_HASHES_MAX));
    expect(asked.length).toBeLessThan(list.length / 31 + 10);
    expect((await finish(client.whereIs(name(6)))).value!.bytes).toBe(6);
  });

  it('refuses one question more than its maximum as busy', async () => {
    const { client } = scriptedClient({ answer: silence });
    for (let n = 0; n < QUESTIONS_MAX; n++) client.whereIs(name(n)).catch(() => undefined);
    await expect(client.whereIs(name(0))).rejects.toMatchObject({ code: 'GRAMLINE_BUSY', retryable: true });
  });

  it('ends a list with the reason of its signal, and one question with its own', async () => {
    const { client, finish } = scriptedClient({ answer: silence });
    const stop = new AbortController();
    const reason = new Error('enough');
    const list = client.whereIsMany([name(1), name(2)], { signal: stop.signal });
    const alone = client.whereIs(name(1), { signal: stop.signal });
    const ended = Promise.allSettled([list, alone]);
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort(reason);
    expect((await finish(ended)).value).toEqual([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ]);
    await expect(client.whereIsMany([name(1)], { signal: stop.signal })).rejects.toBe(reason);
  });

  it('asks another session when one breaks, for the whole batch', async () => {
    const { answer } = coordinator();
    let queries = 0;
    const { client, transport, finish } = scriptedClient({
      answer: async (question) => {
        queries += 1;
        if (queries > 1) return answer(question);
        await transport.connections[0]!.close();
        return silence();
      },
    });
    const { value } = await finish(Promise.all([client.whereIs(name(6)), client.whereIs(name(7))]));
    expect(value!.map(({ bytes }) => bytes)).toEqual([6, 7]);
    expect([queries, transport.connections.length]).toEqual([2, 2]);
  });

  it('fails every question when it is closed', async () => {
    const { client, transport, finish } = scriptedClient({ answer: silence });
    const calls = Promise.allSettled([
      client.whereIs(name(1)),
      client.whereIs(name(2)),
      client.whereIsMany([name(3)]),
    ]);
    await new Promise((resolve) => setImmediate(resolve));
    await finish(client.close());
    for (const outcome of (await finish(calls)).value!)
      expect(outcome).toMatchObject({ reason: { code: 'GRAMLINE_CLOSED' } });
    expect(transport.connections).toHaveLength(1);
    await expect(client.whereIs(name(1))).rejects.toBeInstanceOf(GramlineError);
  });
});
