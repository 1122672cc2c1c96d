/**
 * Virtual time: a queue of events that jumps from one to the next.
 *
 * After every event all microtasks (and `process.nextTick` chains) run to their end before the
 * next one starts, so roles, which are ordinary async code, behave the same at every run. Work
 * that really leaves the process (files, sockets, thread pool, `setImmediate` of others) is
 * outside: it may not take part in a simulation.
 *
 * How the drain works: events run inside `setImmediate` callbacks, and Node empties its tick and
 * microtask queues between two immediates of one batch. Scheduled 64 at a time, that costs about
 * 0.06 us an event; one `await setImmediate` an event costs about 0.9 us for the same guarantee.
 */

import { assert } from '../src/base/assert.ts';
import { type Micros, micros } from '../src/base/units.ts';
import type { Clock, Timer } from '../src/nodes/ports.ts';

/** How a run ended: `until` held, no event was left, the time was up, or the steps were. */
export type RunResult = 'done' | 'idle' | 'time' | 'steps';

export interface RunOptions {
  /** Runs all events up to this time, this time included, then sets the clock to it. */
  readonly untilMicros?: Micros | undefined;
  /** Asked before the first event and after each one, with all microtasks done. */
  readonly until?: (() => boolean) | undefined;
  /** Most events of this run: a simulation that never rests ends as `steps`. */
  readonly stepsMax: number;
}

/** How the clock of one host differs from true time. */
export interface ClockSkew {
  /** What this clock is ahead of true time at its start. */
  readonly skewMicros?: number | undefined;
  /** How much faster than true time it runs, in parts per million. */
  readonly driftPpm?: number | undefined;
  /** Timers run at multiples of this (of true time) only, like Node's own of 1 ms. */
  readonly granularityMicros?: number | undefined;
}

/** Most events that wait at one time; more is a leak in the code under test. */
export const EVENTS_MAX = 4_000_000;
/** Wall time at virtual time 0: 2026-01-01T00:00:00Z. */
export const WALL_START_MILLIS = 1_767_225_600_000;

const IMMEDIATES_PER_BATCH = 64;
const NOT_QUEUED = -1;

export class VirtualClock implements Clock {
  readonly #events = new EventQueue();
  readonly #hostClocks = new Map<string, HostClock>();
  #nowMicros = 0;
  #steps = 0;
  #isRunning = false;

  now(): Micros {
    return micros(this.#nowMicros);
  }

  wallMillis(): number {
    return WALL_START_MILLIS + Math.floor(this.#nowMicros / 1000);
  }

  /** Events run so far, in all runs. */
  get steps(): number {
    return this.#steps;
  }

  /** Events that wait. Cancelled ones are gone at once. */
  get pending(): number {
    return this.#events.length;
  }

  /** Calls `run` at `at`, or as the next event of this instant when that is past. */
  setTimer(at: Micros, run: () => void): Timer {
    assert(Number.isSafeInteger(at), 'a timer needs a whole number of microseconds');
    return this.#events.push(Math.max(at, this.#nowMicros), run);
  }

  /** Calls `run` when `delayMicros` have passed. */
  schedule(delayMicros: number, run: () => void): Timer {
    return this.setTimer(micros(this.#nowMicros + delayMicros), run);
  }

  /** Resolves when `delayMicros` have passed: for scripts of tests. */
  sleep(delayMicros: number): Promise<void> {
    return new Promise((resolve) => this.schedule(delayMicros, resolve));
  }

  /**
   * The clock on the wall of `host`. The same host gets the same clock until that is stopped; a
   * host that restarts after a crash gets a new one.
   */
  clockFor(host: string, skew: ClockSkew = {}): HostClock {
    const known = this.#hostClocks.get(host);
    if (known !== undefined && !known.isStopped) return known;
    const clock = new HostClock(this, skew);
    this.#hostClocks.set(host, clock);
    return clock;
  }

  /**
   * Runs events in the order of their time, those of one instant in the order in which they were
   * set. Rejects with what an event threw. One run at a time.
   */
  run(options: RunOptions): Promise<RunResult> {
    assert(!this.#isRunning, 'the clock runs already');
    assert(options.stepsMax > 0, 'stepsMax must be positive');
    this.#isRunning = true;
    return new Promise((resolve, reject) => {
      let steps = 0;
      let immediates = 0;
      let isOver = false;
      const step = (): void => {
        // What is left of the last batch finds the run over.
        if (isOver) return;
        immediates -= 1;
        try {
          const result = this.#next(options, steps);
          if (result !== undefined) {
            isOver = true;
            this.#isRunning = false;
            resolve(result);
            return;
          }
        } catch (error) {
          isOver = true;
          this.#isRunning = false;
          reject(error);
          return;
        }
        steps += 1;
        if (immediates === 0) refill();
      };
      const refill = (): void => {
        immediates = IMMEDIATES_PER_BATCH;
        for (let count = 0; count < IMMEDIATES_PER_BATCH; count++) setImmediate(step);
      };
      refill();
    });
  }

  /** Runs one event, or says why there is none to run. */
  #next(options: RunOptions, steps: number): RunResult | undefined {
    if (options.until?.() === true) return 'done';
    const event = this.#events.first;
    const { untilMicros } = options;
    if (untilMicros !== undefined && (event === undefined || event.atMicros > untilMicros)) {
      this.#nowMicros = Math.max(this.#nowMicros, untilMicros);
      return 'time';
    }
    if (event === undefined) return 'idle';
    if (steps >= options.stepsMax) return 'steps';
    assert(event.atMicros >= this.#nowMicros, 'time went backwards');
    this.#events.remove(event);
    this.#nowMicros = event.atMicros;
    this.#steps += 1;
    event.run();
    return undefined;
  }
}

/**
 * The clock of one host: skewed, drifting, silent once its host has crashed, late while it is paused.
 *
 * A pause holds all that would run on the host until it is over, then lets it go at once. What counts
 * time meanwhile is the caller's choice: the time of a stopped process goes on, that of a stopped
 * machine stands still.
 */
export class HostClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #rate: number;
  readonly #granularityMicros: number;
  #skewMicros: number;
  #wallOffsetMillis = 0;
  #pausedUntilMicros = 0;
  #isStopped = false;

  constructor(clock: VirtualClock, skew: ClockSkew) {
    this.#clock = clock;
    this.#skewMicros = skew.skewMicros ?? 0;
    this.#rate = 1 + (skew.driftPpm ?? 0) / 1_000_000;
    this.#granularityMicros = skew.granularityMicros ?? 1;
    assert(this.#rate > 0, 'a clock that drifts runs forwards');
    assert(Number.isSafeInteger(this.#skewMicros), 'skew is whole microseconds');
    assert(this.#granularityMicros >= 1, 'timers tick at least once a microsecond');
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  get isPaused(): boolean {
    return this.#pausedUntilMicros > this.#clock.now();
  }

  now(): Micros {
    return micros(this.#local(this.#clock.now()));
  }

  wallMillis(): number {
    return WALL_START_MILLIS + this.#wallOffsetMillis + Math.floor(this.now() / 1000);
  }

  setTimer(at: Micros, run: () => void): Timer {
    assert(Number.isSafeInteger(at), 'a timer needs a whole number of microseconds');
    return new HostTimer(
      (fire) => this.#clock.setTimer(this.#trueMicros(at), fire),
      (fire) => this.#hold(fire, at),
      run,
    );
  }

  /** Calls `run` when `delayMicros` of true time have passed, or when the host can: for what is no timer of its own. */
  schedule(delayMicros: number, run: () => void): Timer {
    return new HostTimer(
      (fire) => this.#clock.schedule(delayMicros, fire),
      (fire) => this.#hold(fire),
      run,
    );
  }

  /** The wall clock is set: monotonic time does not notice. */
  jumpWall(millis: number): void {
    this.#wallOffsetMillis += millis;
  }

  /** Nothing runs on this host for `spanMicros`. With `stalls` its monotonic time stands still meanwhile. */
  pause(spanMicros: number, stalls: boolean): void {
    this.#pausedUntilMicros = Math.max(this.#pausedUntilMicros, this.#clock.now() + spanMicros);
    if (stalls) this.#skewMicros -= spanMicros;
  }

  /** The pause ends now. */
  resume(): void {
    this.#pausedUntilMicros = 0;
  }

  /** The host has crashed: none of its timers runs any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Sets `fire` anew where this is no time to run it; undefined where it is, `null` where it never will be. */
  #hold(fire: () => void, at?: Micros): Timer | undefined | null {
    if (this.#isStopped) return null;
    if (this.isPaused) return this.#clock.setTimer(micros(this.#pausedUntilMicros), fire);
    // Time stood still since the timer was set.
    if (at !== undefined && this.now() < at) return this.#clock.setTimer(this.#trueMicros(at), fire);
    return undefined;
  }

  #trueMicros(at: Micros): Micros {
    let trueMicros = Math.ceil((at - this.#skewMicros) / this.#rate);
    while (this.#local(trueMicros) < at) trueMicros += 1;
    const tick = this.#granularityMicros;
    return micros(Math.ceil(trueMicros / tick) * tick);
  }

  #local(trueMicros: number): number {
    return this.#skewMicros + Math.floor(trueMicros * this.#rate);
  }
}

/** A timer that may be due at a time at which its host can't run it, and is set anew then. */
class HostTimer implements Timer {
  #timer: Timer;

  constructor(
    set: (fire: () => void) => Timer,
    hold: (fire: () => void) => Timer | undefined | null,
    run: () => void,
  ) {
    const fire = (): void => {
      const held = hold(fire);
      if (held === null) return;
      if (held === undefined) run();
      else this.#timer = held;
    };
    this.#timer = set(fire);
  }

  cancel(): void {
    this.#timer.cancel();
  }
}

/** One event, in the queue while `place` is not negative. */
class QueuedEvent implements Timer {
  readonly atMicros: number;
  readonly order: number;
  readonly run: () => void;
  readonly #queue: EventQueue;
  place = NOT_QUEUED;

  constructor(queue: EventQueue, atMicros: number, order: number, run: () => void) {
    this.#queue = queue;
    this.atMicros = atMicros;
    this.order = order;
    this.run = run;
  }

  cancel(): void {
    if (this.place !== NOT_QUEUED) this.#queue.remove(this);
  }
}

/** A binary heap whose entries know their place, so that a cancelled one leaves at once. */
class EventQueue {
  readonly #heap: QueuedEvent[] = [];
  #order = 0;

  get length(): number {
    return this.#heap.length;
  }

  get first(): QueuedEvent | undefined {
    return this.#heap[0];
  }

  push(atMicros: number, run: () => void): QueuedEvent {
    assert(this.#heap.length < EVENTS_MAX, 'too many events wait');
    const event = new QueuedEvent(this, atMicros, this.#order++, run);
    this.#heap.push(event);
    this.#rise(event, this.#heap.length - 1);
    return event;
  }

  remove(event: QueuedEvent): void {
    const { place } = event;
    const last = this.#heap.pop()!;
    event.place = NOT_QUEUED;
    if (last === event) return;
    this.#rise(last, place);
    if (last.place === place) this.#sink(last, place);
  }

  #rise(event: QueuedEvent, from: number): void {
    const heap = this.#heap;
    let place = from;
    while (place > 0) {
      const parentPlace = (place - 1) >>> 1;
      const parent = heap[parentPlace]!;
      if (!isBefore(event, parent)) break;
      heap[place] = parent;
      parent.place = place;
      place = parentPlace;
    }
    heap[place] = event;
    event.place = place;
  }

  #sink(event: QueuedEvent, from: number): void {
    const heap = this.#heap;
    let place = from;
    for (;;) {
      let childPlace = place * 2 + 1;
      if (childPlace >= heap.length) break;
      const right = heap[childPlace + 1];
      if (right !== undefined && isBefore(right, heap[childPlace]!)) childPlace += 1;
      const child = heap[childPlace]!;
      if (!isBefore(child, event)) break;
      heap[place] = child;
      child.place = place;
      place = childPlace;
    }
    heap[place] = event;
    event.place = place;
  }
}

function isBefore(left: QueuedEvent, right: QueuedEvent): boolean {
  return left.atMicros < right.atMicros || (left.atMicros === right.atMicros && left.order < right.order);
}
