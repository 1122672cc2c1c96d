/** What a campaign has found so far: sums over seeds, and how often each mark and kind of fault was met. */

import { MARKS, type Mark } from '../src/base/marks.ts';
import type { SeedReport } from './campaign.ts';
import { FAULT_KINDS } from './fault-plan.ts';

/** What one seed brought, as it passes between processes. */
export type SeedResult =
  | {
      readonly seed: number;
      readonly hash: string;
      readonly faults: readonly string[];
      readonly events: number;
      readonly datagrams: number;
      readonly virtualSeconds: number;
      readonly outcomes: Readonly<Record<string, number>>;
      readonly marks: readonly string[];
    }
  | SeedFailure;

export interface SeedFailure {
  readonly seed: number;
  /** One line: seed, invariant, what was found. */
  readonly failure: string;
}

/** Failures that are kept in words; of more, only their number. */
const FAILURES_KEPT_MAX = 100;
const SECONDS_PER_HOUR = 3_600;

export function resultOf(report: SeedReport): SeedResult {
  const { seed, hash, faults, events, datagrams, virtualSeconds } = report;
  const outcomes = Object.fromEntries(report.outcomes);
  return { seed, hash, faults, events, datagrams, virtualSeconds, outcomes, marks: [...report.marks] };
}

export class Tally {
  readonly #failures: SeedFailure[] = [];
  readonly #faults = new Map<string, number>();
  readonly #outcomes = new Map<string, number>();
  readonly #marks = new Map<string, number>();
  seeds = 0;
  failed = 0;
  events = 0;
  datagrams = 0;
  virtualSeconds = 0;

  add(result: SeedResult): void {
    this.seeds += 1;
    if ('failure' in result) {
      this.failed += 1;
      if (this.#failures.length < FAILURES_KEPT_MAX) this.#failures.push(result);
      return;
    }
    this.events += result.events;
    this.datagrams += result.datagrams;
    this.virtualSeconds += result.virtualSeconds;
    for (const kind of result.faults) count(this.#faults, kind, 1);
    for (const name of result.marks) count(this.#marks, name, 1);
    for (const [outcome, times] of Object.entries(result.outcomes)) count(this.#outcomes, outcome, times);
  }

  /** In the order of their seeds. */
  get failures(): readonly SeedFailure[] {
    return [...this.#failures].sort((left, right) => left.seed - right.seed);
  }

  get virtualHours(): number {
    return this.virtualSeconds / SECONDS_PER_HOUR;
  }

  /** How many seeds used each kind of fault. */
  get faults(): readonly (readonly [string, number])[] {
    return FAULT_KINDS.map((kind) => [kind, this.#faults.get(kind) ?? 0] as const);
  }

  get outcomes(): readonly (readonly [string, number])[] {
    return [...this.#outcomes].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  /** How many seeds hit each mark, all marks included. */
  get marks(): readonly (readonly [Mark, number])[] {
    return (Object.keys(MARKS) as Mark[]).map((name) => [name, this.#marks.get(name) ?? 0] as const);
  }

  /** Marks that no seed hit. */
  get missedMarks(): readonly Mark[] {
    return this.marks.filter(([, seeds]) => seeds === 0).map(([name]) => name);
  }
}

function count(counts: Map<string, number>, name: string, times: number): void {
  counts.set(name, (counts.get(name) ?? 0) + times);
}
