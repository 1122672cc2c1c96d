/** The command line of the benchmark. Pure; tested in `test/bench/`. */

import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** Names of the cases to run, in the order of the list; never empty. */
  readonly cases: readonly string[];
  /** Whether the cases were named, rather than all taken. */
  readonly named: boolean;
  readonly json: boolean;
  /** How often each side is measured. */
  readonly pairs: number;
  /** Size of the files and objects of the transfer cases, MiB. */
  readonly megabytes: number;
  /** How long each sample of a rate or a goodput takes. */
  readonly seconds: number;
  /** Sessions of the case `sessions`. */
  readonly sessions: number;
  /** Objects of the case `query-scale`. */
  readonly objects: number;
  /** Run the network cases in namespaces. */
  readonly lab: boolean;
  /** Profile the two hot paths instead of comparing them. */
  readonly cpuProf: boolean;
}

export class UsageError extends Error {}

export const PAIRS_DEFAULT = 5;
const PAIRS_MAX = 1_000;
const MEGABYTES_MAX = 65_536;
const SECONDS_MAX = 600;
const SESSIONS_MAX = 16_000;
const OBJECTS_MAX = 100_000_000;

export const USAGE = `npm run bench -- [NAME ...] [options]

  --pairs N        measure each side N times, in turn (${PAIRS_DEFAULT})
  --megabytes N    size of the objects that are moved, MiB (1024)
  --seconds N      length of each sample of a rate or goodput (2)
  --sessions N     sessions of the case 'sessions' (10000)
  --objects N      objects of the case 'query-scale' (10000000)
  --lab            run the network cases in namespaces: needs root, ip, nft and ethtool
  --cpu-prof       profile bulk and rate, and print where the time goes
  --json           print the results as JSON
  --list           say which cases there are`;

/**
 * @param known Names of all cases; `lab` those that `--lab` runs; `profiled` those that `--cpu-prof` does.
 * @throws UsageError in a sentence
 */
export function parseBenchOptions(
  argv: readonly string[],
  known: {
    readonly all: readonly string[];
    readonly lab: readonly string[];
    readonly profiled: readonly string[];
  },
): BenchOptions {
  const { values, positionals } = parse(argv);
  const { lab, 'cpu-prof': cpuProf, json } = values;
  if (lab && cpuProf) throw new UsageError('--lab and --cpu-prof are two things to do: choose one');
  const offered = lab ? known.lab : cpuProf ? known.profiled : known.all;
  const unknown = positionals.find((name) => !offered.includes(name));
  if (unknown !== undefined) {
    const where = lab ? ' with --lab' : cpuProf ? ' with --cpu-prof' : '';
    throw new UsageError(`no benchmark is called ${unknown}${where}: choose from ${offered.join(', ')}`);
  }
  const named = positionals.length > 0;
  return {
    cases: named ? offered.filter((name) => positionals.includes(name)) : offered,
    named,
    json,
    lab,
    cpuProf,
    pairs: count(values.pairs, '--pairs', PAIRS_MAX),
    megabytes: count(values.megabytes, '--megabytes', MEGABYTES_MAX),
    seconds: count(values.seconds, '--seconds', SECONDS_MAX),
    sessions: count(values.sessions, '--sessions', SESSIONS_MAX),
    objects: count(values.objects, '--objects', OBJECTS_MAX),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        lab: { type: 'boolean', default: false },
        'cpu-prof': { type: 'boolean', default: false },
        pairs: { type: 'string', default: String(PAIRS_DEFAULT) },
        megabytes: { type: 'string', default: '1024' },
        seconds: { type: 'string', default: '2' },
        sessions: { type: 'string', default: '10000' },
        objects: { type: 'string', default: '10000000' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function count(text: string, option: string, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) throw new UsageError(`${option} ${text}: write a number from 1 to ${max}`);
  return value;
}
