import { describe, expect, test } from 'vitest';
import { Random } from '../../sim/random.ts';
import { VirtualClock, WALL_START_MILLIS } from '../../sim/virtual-clock.ts';
import { micros, seconds } from '../../src/base/units.ts';
import type { Timer } from '../../src/nodes/ports.ts';

const STEPS_MAX = 1_000_000;

describe('VirtualClock', () => {
  test('timers run in the order of their time, those of one instant in the order in which they were set', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    for (const [at, name] of [
      [30, 'c1'],
      [10, 'a'],
      [30, 'c2'],
      [20, 'b'],
      [30, 'c3'],
    ] as const) {
      clock.setTimer(micros(at), () => ran.push(`${name}@${clock.now()}`));
    }
    expect(await clock.run({ stepsMax: STEPS_MAX })).toBe('idle');
    expect(ran).toEqual(['a@10', 'b@20', 'c1@30', 'c2@30', 'c3@30']);
  });

  test('a thousand random timers, half of them cancelled, run like a sorted list', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const random = new Random(seed);
      const clock = new VirtualClock();
      const ran: number[] = [];
      const set: { at: number; index: number; timer: Timer; live: boolean }[] = [];
      for (let index = 0; index < 1_000; index++) {
        const at = random.integer(300);
        const timer = clock.setTimer(micros(at), () => ran.push(index));
        set.push({ at, index, timer, live: true });
        if (random.chance(0.5)) {
          const victim = random.pick(set);
          victim.timer.cancel();
          victim.live = false;
        }
      }
      const expected = set.filter((entry) => entry.live).sort((left, right) => left.at - right.at);
      expect(clock.pending).toBe(expected.length);
      await clock.run({ stepsMax: STEPS_MAX });
      expect(ran, `seed ${seed}`).toEqual(expected.map((entry) => entry.index));
    }
  });

  test('a cancelled timer is gone at once, so re-arming a million times holds one entry', () => {
    const clock = new VirtualClock();
    for (let count = 0; count < 1_000_000; count++) {
      clock.setTimer(seconds(1 + (count % 7)), () => {}).cancel();
    }
    expect(clock.pending).toBe(0);
  });

  test('cancel is harmless twice, after the run, and inside it', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    const first = clock.setTimer(micros(1), () => {
      ran.push('first');
      first.cancel();
      second.cancel();
      second.cancel();
    });
    const second = clock.setTimer(micros(1), () => ran.push('second'));
    clock.setTimer(micros(2), () => ran.push('third'));
    await clock.run({ stepsMax: STEPS_MAX });
    first.cancel();
    expect(ran).toEqual(['first', 'third']);
  });

  test('a timer in the past runs at this instant, as a later event, and time stands', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    clock.setTimer(micros(100), () => {
      clock.setTimer(micros(50), () => ran.push(`late@${clock.now()}`));
      clock.setTimer(micros(100), () => ran.push(`now@${clock.now()}`));
      ran.push('outer');
    });
    clock.setTimer(micros(100), () => ran.push('sibling'));
    await clock.run({ stepsMax: STEPS_MAX });
    expect(ran).toEqual(['outer', 'sibling', 'late@100', 'now@100']);
  });

  test('a promise chain of any depth ends before the next event', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    clock.setTimer(micros(1), () => {
      void (async () => {
        for (let depth = 0; depth < 10_000; depth++) await null;
        ran.push(`chain@${clock.now()}`);
      })();
    });
    clock.setTimer(micros(1), () => ran.push('same instant'));
    clock.setTimer(micros(2), () => ran.push('later'));
    await clock.run({ stepsMax: STEPS_MAX });
    expect(ran).toEqual(['chain@1', 'same instant', 'later']);
  });

  test('chains that mix nextTick and promises end before the next event, across every batch', async () => {
    const clock = new VirtualClock();
    let unfinished = 0;
    let overtaken = 0;
    for (let index = 0; index < 1_000; index++) {
      clock.setTimer(micros(index), () => {
        if (unfinished > 0) overtaken += 1;
        void (async () => {
          unfinished += 1;
          for (let depth = 0; depth < 20; depth++) {
            await new Promise<void>((resolve) => process.nextTick(resolve));
            await null;
          }
          unfinished -= 1;
        })();
      });
    }
    await clock.run({ stepsMax: STEPS_MAX });
    expect([overtaken, unfinished, clock.steps]).toEqual([0, 0, 1_000]);
  });

  test('what was pending before the run starts is done before the first event', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    void (async () => {
      for (let depth = 0; depth < 100; depth++) await null;
      ran.push('script');
    })();
    clock.setTimer(micros(0), () => ran.push('event'));
    await clock.run({ stepsMax: STEPS_MAX });
    expect(ran).toEqual(['script', 'event']);
  });

  test('async code sleeps its way through virtual hours without waiting', async () => {
    const clock = new VirtualClock();
    let woke = 0;
    void (async () => {
      for (let hour = 0; hour < 24; hour++) {
        await clock.sleep(3_600_000_000);
        woke += 1;
      }
    })();
    expect(await clock.run({ stepsMax: STEPS_MAX })).toBe('idle');
    expect([woke, clock.now()]).toEqual([24, 24 * 3_600_000_000]);
  });

  test('until is asked after each event with its microtasks done', async () => {
    const clock = new VirtualClock();
    let count = 0;
    for (let at = 1; at <= 10; at++) {
      clock.setTimer(micros(at), () => void Promise.resolve().then(() => (count += 1)));
    }
    expect(await clock.run({ until: () => count === 4, stepsMax: STEPS_MAX })).toBe('done');
    expect([count, clock.now(), clock.pending]).toEqual([4, 4, 6]);
    expect(await clock.run({ until: () => true, stepsMax: STEPS_MAX })).toBe('done');
    expect(clock.now()).toBe(4);
  });

  test('untilMicros includes events of that time, excludes later ones, and sets the clock', async () => {
    const clock = new VirtualClock();
    const ran: number[] = [];
    for (const at of [10, 20, 21]) clock.setTimer(micros(at), () => ran.push(at));
    expect(await clock.run({ untilMicros: micros(20), stepsMax: STEPS_MAX })).toBe('time');
    expect([ran, clock.now()]).toEqual([[10, 20], 20]);
    expect(await clock.run({ untilMicros: micros(5), stepsMax: STEPS_MAX })).toBe('time');
    expect(clock.now()).toBe(20);
    expect(await clock.run({ untilMicros: micros(500), stepsMax: STEPS_MAX })).toBe('time');
    expect([ran, clock.now()]).toEqual([[10, 20, 21], 500]);
  });

  test('stepsMax ends what never rests, exactly there', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const again = (): void => {
      count += 1;
      clock.schedule(1, again);
    };
    again();
    expect(await clock.run({ stepsMax: 1_000 })).toBe('steps');
    expect(count).toBe(1_001);
    expect(await clock.run({ stepsMax: 1 })).toBe('steps');
    expect(count).toBe(1_002);
  });

  test('an event that throws rejects the run, and the clock can run on', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    clock.setTimer(micros(1), () => {
      throw new Error('boom');
    });
    clock.setTimer(micros(2), () => ran.push('after'));
    await expect(clock.run({ stepsMax: STEPS_MAX })).rejects.toThrow('boom');
    expect(ran).toEqual([]);
    await clock.run({ stepsMax: STEPS_MAX });
    expect(ran).toEqual(['after']);
  });

  test('two runs at one time are refused', async () => {
    const clock = new VirtualClock();
    const run = clock.run({ stepsMax: 1 });
    expect(() => clock.run({ stepsMax: 1 })).toThrow('runs already');
    await run;
  });

  test('times that are no whole numbers are refused', () => {
    const clock = new VirtualClock();
    for (const at of [1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => clock.setTimer(micros(at), () => {})).toThrow('whole number');
    }
  });

  test('wall time follows virtual time from a fixed day', async () => {
    const clock = new VirtualClock();
    expect(clock.wallMillis()).toBe(WALL_START_MILLIS);
    expect(new Date(WALL_START_MILLIS).toISOString()).toBe('2026-01-01T00:00:00.000Z');
    await clock.run({ untilMicros: seconds(2), stepsMax: 1 });
    expect(clock.wallMillis()).toBe(WALL_START_MILLIS + 2_000);
  });
});

describe('HostClock', () => {
  test('a skewed and drifting clock shows its own time, and its timers keep it', async () => {
    const clock = new VirtualClock();
    const fast = clock.clockFor('10.0.0.2', { skewMicros: 5_000, driftPpm: 100 });
    expect(fast.now()).toBe(5_000);
    let ranAt: number[] = [];
    fast.setTimer(micros(5_000 + 1_000_100), () => {
      ranAt = [clock.now(), fast.now()];
    });
    await clock.run({ stepsMax: 10 });
    expect(ranAt).toEqual([1_000_000, 1_005_100]);
    expect(fast.wallMillis()).toBe(WALL_START_MILLIS + 1_005);
  });

  test('a timer never runs before its time on its own clock, whatever the drift', async () => {
    const random = new Random(77);
    for (let round = 0; round < 50; round++) {
      const clock = new VirtualClock();
      const host = clock.clockFor('h', {
        skewMicros: random.integer(1_000_000) - 500_000,
        driftPpm: random.integer(2_000) - 1_000,
      });
      let shown = host.now();
      for (let index = 0; index < 20; index++) {
        const at = micros(host.now() + random.integer(10_000_000));
        host.setTimer(at, () => {
          expect(host.now()).toBeGreaterThanOrEqual(at);
          expect(host.now() - at).toBeLessThanOrEqual(2);
          expect(host.now()).toBeGreaterThanOrEqual(shown);
          shown = host.now();
        });
      }
      await clock.run({ stepsMax: 100 });
      expect(clock.steps).toBe(20);
    }
  });

  test('a timer is not early by a rounding after years of drift', async () => {
    const clock = new VirtualClock();
    const host = clock.clockFor('h', { skewMicros: 321_125, driftPpm: 695 });
    const at = micros(5_674_852_130_709_850);
    let ranAt = 0;
    host.setTimer(at, () => {
      ranAt = host.now();
    });
    await clock.run({ stepsMax: 10 });
    expect(ranAt).toBeGreaterThanOrEqual(at);
  });

  test('a coarse clock runs its timers at its ticks only', async () => {
    const clock = new VirtualClock();
    const coarse = clock.clockFor('h', { granularityMicros: 1_000 });
    const ranAt: number[] = [];
    for (const at of [1, 1_000, 1_001]) coarse.setTimer(micros(at), () => ranAt.push(clock.now()));
    await clock.run({ stepsMax: 10 });
    expect(ranAt).toEqual([1_000, 1_000, 2_000]);
  });

  test('a host has one clock until it crashes; then its timers are dead and a new one starts', async () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    const before = clock.clockFor('h', { skewMicros: 7 });
    expect(clock.clockFor('h')).toBe(before);
    before.setTimer(micros(100), () => ran.push('before'));
    before.stop();
    before.setTimer(micros(100), () => ran.push('zombie'));
    const after = clock.clockFor('h');
    expect(after).not.toBe(before);
    after.setTimer(micros(100), () => ran.push('after'));
    await clock.run({ stepsMax: 10 });
    expect(ran).toEqual(['after']);
  });
});

describe('a host that is paused', () => {
  const run = (clock: VirtualClock, until: number) =>
    clock.run({ untilMicros: micros(until), stepsMax: 100 });

  test('runs what has become due when it goes on, in order, and its time has gone on', async () => {
    const clock = new VirtualClock();
    const host = clock.clockFor('h', { skewMicros: 5 });
    const seen: string[] = [];
    host.setTimer(micros(105), () => seen.push(`a at ${host.now()}`));
    host.setTimer(micros(205), () => seen.push(`b at ${host.now()}`));
    host.setTimer(micros(905), () => seen.push(`c at ${host.now()}`));
    const cancelled = host.setTimer(micros(305), () => seen.push('never'));
    await run(clock, 50);
    host.pause(500, false);
    expect(host.isPaused).toBe(true);
    await run(clock, 549);
    cancelled.cancel();
    expect(seen).toEqual([]);
    await run(clock, 1_000);
    expect(seen).toEqual(['a at 555', 'b at 555', 'c at 905']);
  });

  test('whose time stood still has its timers run that much later', async () => {
    const clock = new VirtualClock();
    const host = clock.clockFor('h');
    const seen: string[] = [];
    host.setTimer(micros(100), () => seen.push(`a at ${host.now()}`));
    host.setTimer(micros(900), () => seen.push(`b at ${host.now()}`));
    host.schedule(100, () => seen.push('device'));
    await run(clock, 50);
    host.pause(500, true);
    await run(clock, 590);
    expect(seen).toEqual(['device']);
    await run(clock, 2_000);
    expect(seen).toEqual(['device', 'a at 100', 'b at 900']);
    expect([host.now(), clock.now()]).toEqual([1_500, 2_000]);
  });

  test('runs nothing any more when it dies in the meantime', async () => {
    const clock = new VirtualClock();
    const host = clock.clockFor('h');
    let ran = 0;
    host.setTimer(micros(100), () => ran++);
    host.pause(500, false);
    await run(clock, 200);
    host.stop();
    await run(clock, 1_000);
    expect([ran, clock.pending]).toEqual([0, 0]);
  });
});

test('a jump of the wall clock changes nothing but the wall clock', () => {
  const clock = new VirtualClock();
  const host = clock.clockFor('h');
  const [now, wall] = [host.now(), host.wallMillis()];
  host.jumpWall(-3_600_000);
  expect([host.now(), host.wallMillis()]).toEqual([now, wall - 3_600_000]);
});
