import { beforeEach, describe, expect, it } from 'vitest';
import { Random } from '../../sim/random.ts';
import { SharedStateEngine, type SharedStateStore, StateLink } from '../../sim/shared-state.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { type Micros, micros, millis, seconds } from '../../src/base/units.ts';
import { LEADER_LEASE_MICROS, Leadership } from '../../src/nodes/leadership.ts';
import type { StateOperation } from '../../src/nodes/ports.ts';
import { SILENT } from '../support/transport.ts';

const STEPS_MAX = 1_000_000;
/** The engine looks for ended leases a little later, and a message takes its time. */
const SLACK_MICROS = seconds(1);
/** The most that passes from the last renewal of a leader that is lost until another leads. */
const TAKEOVER_MICROS = LEADER_LEASE_MICROS + SLACK_MICROS;
const KEY = utf8('x');

/** A coordinator of which there is only the leadership, on a clock of its own. */
class Contender {
  readonly name: string;
  readonly link: StateLink;
  readonly store: SharedStateStore;
  readonly leadership: Leadership;
  readonly epochs: number[] = [];
  losses = 0;
  /** While it stands still nothing of it runs. */
  #pausedUntil = 0;
  readonly #clock: VirtualClock;

  constructor(
    engine: SharedStateEngine,
    clock: VirtualClock,
    index: number,
    secretIds?: readonly Uint8Array[],
  ) {
    this.name = `10.0.0.${index}:7400`;
    this.link = new StateLink(index * 1_000);
    this.#clock = clock;
    const now = (): Micros => clock.now();
    this.store = engine.open({ now, wait: (span) => this.#wait(span) }, this.link);
    this.leadership = new Leadership({
      state: this.store,
      clock: {
        now,
        wallMillis: () => 0,
        setTimer: (at, run) => clock.setTimer(at, () => void this.#wait(0).then(run)),
      },
      entropy: new Random(index),
      log: SILENT,
      address: this.name,
      offload: false,
      secretIds,
      onGained: (epoch) => this.epochs.push(epoch),
      onLost: () => {
        this.losses += 1;
      },
    });
  }

  pause(spanMicros: number): void {
    this.#pausedUntil = this.#clock.now() + spanMicros;
  }

  put(value: string): Promise<unknown> {
    const operations: StateOperation[] = [{ key: KEY, value: utf8(value) }];
    return this.leadership.commit([], operations);
  }

  async #wait(spanMicros: number): Promise<void> {
    const until = Math.max(this.#clock.now() + spanMicros, this.#pausedUntil);
    await this.#clock.sleep(until - this.#clock.now());
    if (this.#clock.now() < this.#pausedUntil) await this.#wait(0);
  }
}

let clock: VirtualClock;
let engine: SharedStateEngine;
let contenders: Contender[];

beforeEach(async () => {
  clock = new VirtualClock();
  engine = new SharedStateEngine(new Uint8Array(16), clock, new Random(7));
  contenders = [1, 2, 3].map((index) => new Contender(engine, clock, index));
  for (const { leadership } of contenders) void leadership.start();
  await pass(seconds(1));
});

async function pass(spanMicros: number): Promise<void> {
  await clock.run({ untilMicros: micros(clock.now() + spanMicros), stepsMax: STEPS_MAX });
}

/** Runs the clock until `work` settles; what it resolved to, or the code that it rejected with. */
async function outcome(work: Promise<unknown>, spanMicros = seconds(10)): Promise<unknown> {
  let settled: { value: unknown } | undefined;
  work.then(
    (value) => {
      settled = { value };
    },
    (error: { code: string }) => {
      settled = { value: error.code };
    },
  );
  await clock.run({
    until: () => settled !== undefined,
    untilMicros: micros(clock.now() + spanMicros),
    stepsMax: STEPS_MAX,
  });
  return settled?.value;
}

function leaders(): Contender[] {
  return contenders.filter(({ leadership }) => leadership.isLeading);
}

function leader(): Contender {
  expect(leaders()).toHaveLength(1);
  return leaders()[0]!;
}

function others(): Contender[] {
  return contenders.filter((contender) => !contender.leadership.isLeading);
}

describe('of several coordinators', () => {
  it('exactly one leads, the first epoch is 1, and all know who it is [LEAD-1]', () => {
    const { name, epochs } = leader();
    expect(epochs).toEqual([1]);
    expect(contenders.map(({ leadership }) => leadership.leader?.address)).toEqual([name, name, name]);
    expect(contenders.map(({ leadership }) => leadership.coordinators.length)).toEqual([3, 3, 3]);
  });

  it('one that does not lead commits nothing [LEAD-2]', async () => {
    const [other] = others();
    expect(await outcome(other!.put('1'))).toBe('GRAMLINE_NOT_LEADER');
    expect(engine.table.get(KEY)).toBeUndefined();
    expect(await outcome(leader().put('2'))).toMatchObject({ ok: true });
    expect(engine.table.get(KEY)).toEqual(utf8('2'));
  });

  it('one that gives the leadership up is followed at once, in the next epoch', async () => {
    const first = leader();
    expect(await outcome(first.leadership.close())).toBeUndefined();
    await pass(millis(400));
    const second = leader();
    expect(second).not.toBe(first);
    expect(second.epochs).toEqual([2]);
    expect(second.leadership.coordinators).toHaveLength(2);
  });

  it('one that dies is followed when its lease has ended, and not before', async () => {
    const first = leader();
    first.pause(seconds(3_600));
    await pass(LEADER_LEASE_MICROS / 2);
    expect(others().every(({ epochs }) => epochs.length === 0)).toBe(true);
    await pass(TAKEOVER_MICROS);
    const [second] = leaders();
    expect(second?.epochs).toEqual([2]);
    expect(second).not.toBe(first);
  });

  it('one that stood still does not lead when it goes on, and what it began changes nothing [LEAD-2]', async () => {
    const first = leader();
    first.pause(seconds(10));
    await pass(seconds(10) + 1);
    // It has not heard of the other yet: its own clock tells.
    expect(first.leadership.isLeading).toBe(false);
    expect(await outcome(first.put('late'))).toMatch(/GRAMLINE_(NOT_LEADER|BUSY)/);
    await pass(seconds(1));
    expect(first.losses).toBe(1);
    expect(engine.table.get(KEY)).toBeUndefined();
    expect(leader()).not.toBe(first);
  });

  it('what was begun in an epoch commits nothing in a later one of the same coordinator [LEAD-2]', async () => {
    const first = leader();
    const operations = [{ key: utf8('x'), value: utf8('1') }];
    const old = first.leadership.writerOf(1);
    expect(await outcome(old.commit([], operations))).toMatchObject({ ok: true });
    await expect(first.leadership.writerOf(2).commit([], operations)).rejects.toMatchObject({
      code: 'GRAMLINE_NOT_LEADER',
    });
  });

  it('a commit that is on its way when another begins to lead is refused by the epoch [LEAD-2]', async () => {
    const first = leader();
    // Asked while it leads; the request arrives long after.
    const write = first.put('late');
    write.catch(() => undefined);
    const mine = engine.table.get(utf8('l'))!;
    const second = { key: utf8('l'), equals: mine };
    engine.commit([second], [{ key: utf8('l'), value: undefined }]);
    expect(await outcome(write)).toBe('GRAMLINE_NOT_LEADER');
    expect(engine.table.get(KEY)).toBeUndefined();
    await pass(seconds(1));
    expect(leader().epochs.at(-1)).toBe(2);
  });

  it('one that is cut off from the state is suspended, then followed; it follows when it is back', async () => {
    const first = leader();
    first.link.isCut = true;
    await pass(LEADER_LEASE_MICROS);
    expect(first.leadership.isSuspended).toBe(true);
    expect(await outcome(first.put('1'))).toBe('GRAMLINE_BUSY');
    expect(first.store.isCurrent).toBe(false);
    await pass(TAKEOVER_MICROS);
    const second = leader();
    expect(second).not.toBe(first);
    first.link.isCut = false;
    await pass(seconds(3));
    expect([first.leadership.isSuspended, first.losses, leader() === second]).toEqual([false, 1, true]);
    expect(first.store.isCurrent).toBe(true);
    expect(first.leadership.leader?.address).toBe(second.name);
  });

  it('the leader goes on in its epoch when the state was out of service for a while [LEAD-4]', async () => {
    const first = leader();
    engine.setDown(true);
    await pass(seconds(4));
    expect([first.leadership.isSuspended, leaders().length]).toEqual([true, 0]);
    engine.setDown(false);
    await pass(seconds(3));
    expect([leader() === first, first.epochs, first.losses]).toEqual([true, [1], 0]);
  });

  it('two never lead at the same time, whatever happens, and epochs grow by one', async () => {
    const random = new Random(11);
    let moments = 0;
    for (let step = 0; step < 600; step++) {
      const contender = random.pick(contenders);
      if (random.chance(0.05)) contender.pause(random.integer(seconds(6)));
      if (random.chance(0.05)) contender.link.isCut = true;
      if (random.chance(0.2)) contender.link.isCut = false;
      if (random.chance(0.03)) engine.setDown(true);
      if (random.chance(0.2)) engine.setDown(false);
      await pass(millis(100));
      expect(leaders().length).toBeLessThanOrEqual(1);
      moments += leaders().length;
    }
    const epochs = contenders.flatMap(({ epochs: own }) => own).sort((left, right) => left - right);
    expect(epochs).toEqual(epochs.map((_epoch, index) => index + 1));
    expect(epochs.length).toBeGreaterThan(3);
    expect(moments).toBeGreaterThan(100);
  });

  it('one does not start beside another that has no secret in common with it [LEAD-12]', async () => {
    const [one, two, three] = [1, 2, 3].map((fill) => new Uint8Array(8).fill(fill));
    const own = new SharedStateEngine(new Uint8Array(16), clock, new Random(8));
    const start = (index: number, secretIds: readonly Uint8Array[]): Promise<unknown> =>
      outcome(new Contender(own, clock, index, secretIds).leadership.start());
    expect(await start(1, [one!])).toBeUndefined();
    expect(await start(2, [two!])).toBe('GRAMLINE_DENIED');
    // While a secret is being replaced some accept the old one and the new.
    expect(await start(3, [two!, one!])).toBeUndefined();
    expect(await start(4, [three!, two!])).toBe('GRAMLINE_DENIED');
  });
});
