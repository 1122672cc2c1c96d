/** The command line of `gramline sim`: words to numbers, with bounds, and which of them go together. */

import { availableParallelism } from 'node:os';
import { UsageError } from '../src/cli/failures.ts';
import { FAULT_KINDS, type FaultKind, type RunOptions } from './campaign.ts';
import { JOBS_MAX } from './pool.ts';

export const SEEDS_DEFAULT = 1_000;
const SEEDS_MAX = 1_000_000_000;
/** Machines have addresses of one byte each. */
export const NODES_MAX = 250;
const CLIENTS_MAX = 250;
const COORDINATORS_MAX = 9;
const MINUTES_MAX = 24 * 60;
/** Beyond that no handshake ends in its tries. */
const LOSS_PERCENT_MAX = 50;
const WITHOUT_MAX = 10_000;
/** Campaigns of so many seeds must hit every mark. */
export const MARKED_SEEDS = 2_000;

/** What commander gathers. */
export interface SimWords {
  readonly seeds?: number;
  readonly from?: number;
  readonly seed?: number;
  readonly jobs?: number;
  readonly coordinators?: number;
  readonly nodes?: number;
  readonly clients?: number;
  readonly minutes?: number;
  readonly loss?: number;
  readonly faults?: readonly FaultKind[];
  readonly without?: readonly string[];
  readonly contention?: boolean;
  readonly keepGoing?: boolean;
  readonly requireMarks?: boolean;
  readonly json?: boolean;
  readonly trace?: string | true;
  readonly qlog?: string;
}

/** A campaign as it was asked for. */
export interface SimPlan {
  readonly from: number;
  readonly count: number;
  readonly jobs: number;
  readonly run: RunOptions;
  /** Whether one seed was named: it runs in this process. */
  readonly isSingle: boolean;
  readonly requiresMarks: boolean;
}

/** Checks what goes together, and fills in what was left out. Throws UsageError. */
export function planCampaign(words: SimWords): SimPlan {
  const { seed, trace, qlog } = words;
  if (seed !== undefined && (words.seeds !== undefined || words.from !== undefined))
    throw new UsageError('--seed is one seed: leave --seeds and --from out');
  if (seed === undefined && (trace !== undefined || qlog !== undefined))
    throw new UsageError('--trace and --qlog show one run: name it with --seed');
  if (words.json === true && (trace === true || trace === '-'))
    throw new UsageError('--json and a trace on stdout do not mix: give --trace a file');
  const count = seed === undefined ? (words.seeds ?? SEEDS_DEFAULT) : 1;
  const from = seed ?? words.from ?? 1;
  if (!Number.isSafeInteger(from + count))
    throw new UsageError('--from is too large: seeds are safe integers');
  const run: RunOptions = {
    ...(words.faults === undefined ? {} : { faults: words.faults }),
    ...(words.without === undefined ? {} : { without: words.without }),
    ...(words.contention === true ? { contention: true } : {}),
    ...(words.loss === undefined ? {} : { lossProbability: words.loss }),
    ...(words.coordinators === undefined ? {} : { coordinators: words.coordinators }),
    ...(words.nodes === undefined ? {} : { nodes: words.nodes }),
    ...(words.clients === undefined ? {} : { clients: words.clients }),
    ...(words.minutes === undefined ? {} : { minutes: words.minutes }),
  };
  const isNarrowed = words.faults !== undefined || words.without !== undefined;
  return {
    from,
    count,
    jobs: words.jobs ?? availableParallelism(),
    run,
    isSingle: seed !== undefined,
    requiresMarks: words.requireMarks === true || (count >= MARKED_SEEDS && !isNarrowed),
  };
}

function whole(name: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new UsageError(`--${name} is a whole number from ${least} to ${most}, not '${text}'`);
  };
}

export const parseSeeds: (text: string) => number = whole('seeds', 1, SEEDS_MAX);
export const parseFrom: (text: string) => number = whole('from', 0, Number.MAX_SAFE_INTEGER);
export const parseSeed: (text: string) => number = whole('seed', 0, Number.MAX_SAFE_INTEGER - 1);
export const parseJobs: (text: string) => number = whole('jobs', 1, JOBS_MAX);
export const parseCoordinators: (text: string) => number = whole('coordinators', 1, COORDINATORS_MAX);
export const parseNodes: (text: string) => number = whole('nodes', 1, NODES_MAX);
export const parseClients: (text: string) => number = whole('clients', 1, CLIENTS_MAX);

/** Minutes, perhaps with a fraction. */
export function parseMinutes(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= MINUTES_MAX) return value;
  throw new UsageError(`--minutes is a number above 0, at most ${MINUTES_MAX}, not '${text}'`);
}

/** `10%` as 0.1. */
export function parseLoss(text: string): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text);
  const percent = match === null ? Number.NaN : Number(match[1]);
  if (percent <= LOSS_PERCENT_MAX) return percent / 100;
  throw new UsageError(`--loss is a percentage from 0% to ${LOSS_PERCENT_MAX}%, such as 10%, not '${text}'`);
}

/** Kinds of fault, or `none`. */
export function parseFaults(text: string): readonly FaultKind[] {
  if (text === 'none') return [];
  const names = text.split(',').filter((name) => name !== '');
  const unknown = names.find((name) => !(FAULT_KINDS as readonly string[]).includes(name));
  if (unknown === undefined && names.length > 0) return FAULT_KINDS.filter((kind) => names.includes(kind));
  throw new UsageError(`--faults knows none, ${FAULT_KINDS.join(', ')}, not '${unknown ?? text}'`);
}

/** Names of faults and operations, as a failure prints them. */
export function parseWithout(text: string): readonly string[] {
  const names = text.split(',').filter((name) => name !== '');
  const wrong = names.find((name) => !/^[a-z]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+)+$/.test(name));
  if (wrong !== undefined) {
    throw new UsageError(`--without takes names such as node-crash.2 or client-1.2.3, not '${wrong}'`);
  }
  if (names.length <= WITHOUT_MAX) return names;
  throw new UsageError(`--without takes at most ${WITHOUT_MAX} names`);
}
