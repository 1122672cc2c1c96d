/**
 * Which faults a seed has, and when they strike. Swarm style: each seed draws which kinds it uses at all,
 * so that seeds try faults alone and in all mixtures.
 *
 * Every fault has a name and chance of its own, so that one can be left out and the others stay as they
 * are: that is how a failure is made small (`minimise.ts`). What a fault does is in `strikes.ts`.
 */

import type { Random } from './random.ts';

/** The kinds of fault of which a seed enables some, and how many of one strike at most in a short run. */
const STRIKES_MAX = {
  /** Loss, copies, reordering, delay, narrow links. */
  weather: 3,
  /** Bits that flip and tails that are lost. */
  damage: 3,
  /** What one machine sends to another is lost, and the other way is open. */
  'one-way-cuts': 3,
  /** Two machines, or one and all others, hear nothing of each other. */
  partitions: 2,
  'node-crash': 3,
  'coordinator-crash': 2,
  'client-crash': 1,
  'disk-full': 2,
  'state-full': 1,
  /** The shared state of several coordinators answers nobody. */
  'state-outages': 2,
  /** One of several coordinators does not reach the shared state. */
  'state-cuts': 2,
  /** Reads, writes and flushes take random times, up to seconds. */
  'slow-disks': 2,
  /** The wall clock of a machine is set forward or backward. */
  'clock-jumps': 3,
  /** A machine stands still, with its monotonic clock or without it; then all that waited comes at once. */
  pauses: 2,
  /** Bits rot in a stored object of which there is another copy. */
  corruption: 3,
  /** A node is gone for good, where another copy of all that is to have two is left. */
  'node-loss': 2,
  /** A node starts anew and wants to leave: its objects go elsewhere. */
  drain: 1,
  /** Not a strike: nodes have little room from the start. */
  'small-quota': 0,
} as const;

export type FaultKind = keyof typeof STRIKES_MAX;
export const FAULT_KINDS = Object.keys(STRIKES_MAX) as readonly FaultKind[];

/** Each kind of fault is on with this chance. */
const FAULT_CHANCE = 0.35;
/** Strikes of one run at most, however long it is. */
export const STRIKES_PLANNED_MAX = 20_000;

export interface PlannedFault {
  /** Of its own in this run: the kind and a number. */
  readonly id: string;
  readonly kind: FaultKind;
  readonly atMicros: number;
}

/** The kinds that a seed uses. */
export function drawKinds(random: Random): readonly FaultKind[] {
  return FAULT_KINDS.filter((kind) => random.fork(kind).chance(FAULT_CHANCE));
}

/**
 * When faults of `kinds` strike, before `endMicros`, in the order of time.
 *
 * @param minutes How often a short run's number of faults is drawn; 1 for a short run.
 */
export function planFaults(
  random: Random,
  kinds: readonly FaultKind[],
  endMicros: number,
  minutes = 1,
): PlannedFault[] {
  const planned: PlannedFault[] = [];
  for (const kind of kinds) {
    const own = random.fork(kind);
    const most = STRIKES_MAX[kind];
    if (most === 0) continue;
    let count = 0;
    for (let minute = 0; minute < minutes; minute++) count += 1 + own.integer(most);
    count = Math.min(count, Math.floor(STRIKES_PLANNED_MAX / kinds.length));
    for (let number = 1; number <= count; number++) {
      planned.push({ id: `${kind}.${number}`, kind, atMicros: own.integer(endMicros) });
    }
  }
  return planned.sort((left, right) => left.atMicros - right.atMicros);
}
