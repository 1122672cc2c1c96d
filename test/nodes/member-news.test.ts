import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { micros, seconds } from '../../src/base/units.ts';
import { MemberBook } from '../../src/nodes/member-book.ts';
import { MemberFollower } from '../../src/nodes/member-follower.ts';
import { ASKERS_MAX, MemberNews } from '../../src/nodes/member-news.ts';
import {
  decodeMemberOrder,
  encodeMember,
  encodeMemberOrder,
  memberKey,
  Standing,
} from '../../src/nodes/member-record.ts';
import { COLLECTED_KEPT_MAX, Membership } from '../../src/nodes/membership.ts';
import type { IncomingQuery, Reply, StateOperation } from '../../src/nodes/ports.ts';
import { MEMBER_ORDER_KEY } from '../../src/nodes/state-keys.ts';
import type { StateWriter } from '../../src/nodes/state-writer.ts';
import { MEMBERS_MAX, NodeState, QueryKind, ResultCode } from '../../src/wire/index.ts';

const STEPS_MAX = 100_000;

let clock: VirtualClock;
let state: MemoryStateStore;
let news: MemberNews;
let follower: MemberFollower;

beforeEach(() => {
  clock = new VirtualClock();
  state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
  open();
  follower = new MemberFollower(ask);
});

/** A coordinator begins to read the state. */
function open(): void {
  const members = new Membership(undefined, state);
  members.follow();
  news = new MemberNews(clock, members);
}

function ask(body: Uint8Array): Promise<Reply> {
  return new Promise((resolve) => {
    const query = {
      kind: QueryKind.MEMBERS,
      body,
      reply: (code: number, reply = new Uint8Array(0)) => resolve({ code, body: reply }),
    } as IncomingQuery;
    void news.answer(query);
  });
}

function id(n: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, n);
  return bytes;
}

async function set(n: number, standing: Standing | undefined, incarnation = 1): Promise<void> {
  const record = {
    ...{
      nodeId: id(n),
      incarnation,
      standing: standing ?? Standing.UP,
      draining: false,
      full: false,
      offload: false,
    },
    ...{
      sinceMillis: 0,
      changed: decodeMemberOrder(state.get(MEMBER_ORDER_KEY)) + 1,
      quotaBytes: 1,
      freeBytes: 1,
      objects: 0,
      name: `n${n}`,
      address: `10.0.0.1:${n}`,
    },
  };
  const value = standing === undefined ? undefined : encodeMember(record);
  const number = { key: MEMBER_ORDER_KEY, value: encodeMemberOrder(record.changed) };
  await state.commit([], [number, { key: memberKey(id(n)), value }]);
}

/** Members as a leader has them. */
function leading(): Membership {
  const members = new Membership(undefined, state);
  members.follow();
  members.lead(true);
  return members;
}

/** A writer whose commits wait until they are let go. */
function heldWriter(): { readonly writer: StateWriter; readonly release: () => void } {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const commit: StateWriter['commit'] = (compare, operations) =>
    released.then(() => state.commit(compare, operations));
  return { writer: { commit }, release };
}

function unexpected(error: unknown): never {
  throw error;
}

/** What `work` resolves to, within `span` of virtual time. */
async function within<T>(work: Promise<T>, span = seconds(60)): Promise<T | 'waiting'> {
  let outcome: T | 'waiting' = 'waiting';
  void work.then((value) => {
    outcome = value;
  });
  await clock.run({
    until: () => outcome !== 'waiting',
    untilMicros: micros(clock.now() + span),
    stepsMax: STEPS_MAX,
  });
  return outcome;
}

/** The next news: asked for until there are some, or nothing has come for as long as a coordinator waits. */
async function told(): Promise<string[]> {
  for (;;) {
    const from = clock.now();
    const changes = await within(follower.next());
    if (changes === 'waiting') return ['waiting'];
    if (changes.length > 0 || clock.now() > from)
      return changes.map(({ name, state: is }) => `${name} ${is}`);
  }
}

describe('news of members [MEM-3]', () => {
  it('are told as soon as there are any, each member as it is now', async () => {
    await set(1, Standing.UP);
    await set(2, Standing.UP);
    expect(await told()).toEqual(['n1 0', 'n2 0']);
    // The list is at its end.
    await within(follower.next());
    const next = told();
    await set(1, Standing.FAILED);
    await set(1, Standing.UP, 2);
    expect(await next).toEqual(['n1 3']);
    expect(await told()).toEqual(['n1 0']);
    expect(follower.members.map(({ name, incarnation }) => [name, incarnation])).toEqual([
      ['n1', 2],
      ['n2', 1],
    ]);
  });

  it('come together for somebody who asks late', async () => {
    await set(1, Standing.UP);
    expect(await told()).toEqual(['n1 0']);
    for (let times = 0; times < 5; times++) await set(1, times % 2 === 0 ? Standing.DOWN : Standing.UP);
    await set(2, Standing.UP);
    expect(await told()).toEqual(['n1 1', 'n2 0']);
  });

  it('are waited for, and nobody is named when there are none', async () => {
    await set(1, Standing.UP);
    await told();
    const from = clock.now();
    expect(await told()).toEqual([]);
    expect(clock.now() - from).toBe(seconds(5));
  });

  it('are told page by page, also of members that one commit changed, and nobody is left out', async () => {
    const count = 3 * MEMBERS_MAX;
    const changed = decodeMemberOrder(state.get(MEMBER_ORDER_KEY)) + 1;
    const operations: StateOperation[] = [{ key: MEMBER_ORDER_KEY, value: encodeMemberOrder(changed) }];
    for (let n = 1; n <= count; n++) {
      const record = {
        ...{
          nodeId: id(n),
          incarnation: 1,
          standing: Standing.UP,
          draining: false,
          full: false,
          offload: false,
        },
        ...{
          sinceMillis: 0,
          changed,
          quotaBytes: 1,
          freeBytes: 1,
          objects: 0,
          name: `n${n}`,
          address: 'a:1',
        },
      };
      operations.push({ key: memberKey(id(n)), value: encodeMember(record) });
    }
    await state.commit([], operations);
    const names = new Set<string>();
    let pages = 0;
    while (names.size <= count) {
      for (const line of await told()) names.add(line);
      pages += 1;
      // One that was told changes meanwhile: it is told again, and pushes nobody aside.
      if (pages === 1) await set(1, Standing.DOWN);
    }
    expect(pages).toBeGreaterThan(2);
    expect(names).toContain('n1 1');
    expect(follower.members).toHaveLength(count);
  });

  it('go on at another coordinator where the last one ended', async () => {
    await set(1, Standing.UP);
    await set(2, Standing.UP);
    await told();
    open();
    await set(2, Standing.FAILED);
    expect(await told()).toEqual(['n2 3']);
  });

  it('say who was collected', async () => {
    await set(1, Standing.UP);
    await set(2, Standing.UP);
    await told();
    await set(1, undefined);
    expect(await told()).toEqual([`n1 ${NodeState.GONE}`]);
    expect(follower.members.map(({ name }) => name)).toEqual(['n2']);
  });

  it('are told anew to somebody who may have missed that: whoever is not named is gone', async () => {
    await set(1, Standing.UP);
    await set(2, Standing.UP);
    await told();
    // Collected while nobody was there who remembers it.
    await set(1, undefined);
    open();
    expect(await told()).toEqual(['n2 0']);
    expect(await told()).toEqual([`n1 ${NodeState.GONE}`]);
    expect(follower.members.map(({ name }) => name)).toEqual(['n2']);
  });

  it('are told anew when more were collected than are remembered', async () => {
    await set(1, Standing.UP);
    await told();
    for (let n = 2; n <= COLLECTED_KEPT_MAX + 3; n++) {
      await set(n, Standing.UP);
      await set(n, undefined);
    }
    expect(await told()).toEqual(['n1 0']);
  });

  it('are waited for by so many at once, and one more is told to come back', async () => {
    await set(1, Standing.UP);
    await told();
    const body = new Uint8Array(26);
    new DataView(body.buffer).setUint32(2, state.revision + 1);
    new DataView(body.buffer).setUint32(22, 30_000);
    const waiting = Array.from({ length: ASKERS_MAX }, () => ask(body));
    expect((await ask(body)).code).toBe(ResultCode.BUSY);
    // A coordinator that ends lets all of them go.
    news.close();
    const codes = new Set((await Promise.all(waiting)).map(({ code }) => code));
    expect(codes).toEqual(new Set([ResultCode.OK]));
  });

  it('reach who asked while they were on their way, and much else became durable before them', async () => {
    await set(1, Standing.UP);
    expect(await told()).toEqual(['n1 0']);
    const { release, writer } = heldWriter();
    const leader = leading();
    const book = new MemberBook({ writer, state, members: leader }, unexpected);
    const member = leader.get(id(1))!;
    member.stand(Standing.FAILED, 0);
    book.note(member);
    // Objects that are put meanwhile.
    for (let turn = 0; turn < 3; turn++) await state.commit([], [{ key: id(100 + turn), value: id(turn) }]);
    expect(await told()).toEqual([]);
    release();
    await book.flush();
    expect(await told()).toEqual(['n1 3']);
  });

  it('are told one after the other, also where one came through of which nobody knew', async () => {
    await set(1, Standing.UP);
    await set(2, Standing.UP);
    await told();
    await told();
    const failures: unknown[] = [];
    let late = async (): Promise<unknown> => undefined;
    let isLate = true;
    const writer: StateWriter = {
      commit: async (compare, operations) => {
        if (!isLate) return state.commit(compare, operations);
        isLate = false;
        late = () => state.commit(compare, operations);
        throw new Error('no answer');
      },
    };
    const leader = leading();
    const book = new MemberBook({ writer, state, members: leader }, (error) => failures.push(error));
    const stand = (n: number, standing: Standing): void => {
      const member = leader.get(id(n))!;
      member.stand(standing, 0);
      book.note(member);
    };
    stand(1, Standing.DOWN);
    await book.flush();
    expect(failures).toHaveLength(1);
    stand(2, Standing.FAILED);
    // It takes effect after all, in front of what was numbered like it.
    await late();
    expect(await told()).toEqual(['n1 1']);
    await book.flush();
    const names = [...(await told()), ...(await told())];
    expect(names).toContain('n2 3');
  });

  it('that nobody can read are MALFORMED', async () => {
    expect((await ask(new Uint8Array(3))).code).toBe(ResultCode.MALFORMED);
  });
});
