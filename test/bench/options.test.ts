/** The command line of the benchmark. */

import { describe, expect, it } from 'vitest';
import { type BenchOptions, PAIRS_DEFAULT, parseBenchOptions, UsageError } from '../../bench/options.ts';

const known = { all: ['bulk', 'put', 'rate', 'incast'], lab: ['bulk', 'incast'], profiled: ['bulk', 'rate'] };

function parse(...argv: string[]): BenchOptions {
  return parseBenchOptions(argv, known);
}

describe('the command line', () => {
  it('runs every case, five pairs and 1 GiB by default', () => {
    const options = parse();
    expect(options.cases).toEqual(known.all);
    expect(options).toMatchObject({
      named: false,
      json: false,
      lab: false,
      cpuProf: false,
      megabytes: 1_024,
    });
    expect(PAIRS_DEFAULT).toBeGreaterThanOrEqual(5);
    expect(options.pairs).toBe(PAIRS_DEFAULT);
  });

  it('runs the named cases once each, in the order of the list', () => {
    const options = parse('rate', 'bulk', 'rate');
    expect(options.cases).toEqual(['bulk', 'rate']);
    expect(options.named).toBe(true);
  });

  it('takes options before, between and behind names', () => {
    expect(parse('--pairs', '7', 'bulk', '--json', 'put')).toMatchObject({
      cases: ['bulk', 'put'],
      pairs: 7,
      json: true,
    });
    expect(parse('--megabytes=64', '--seconds', '1', '--sessions', '9', '--objects', '8')).toMatchObject({
      megabytes: 64,
      seconds: 1,
      sessions: 9,
      objects: 8,
    });
  });

  it('offers in the lab and under the profiler what there is', () => {
    expect(parse('--lab').cases).toEqual(known.lab);
    expect(parse('--cpu-prof').cases).toEqual(known.profiled);
    expect(() => parse('--lab', 'rate')).toThrow(/rate with --lab: choose from bulk, incast/);
    expect(() => parse('--cpu-prof', 'incast')).toThrow(/incast with --cpu-prof: choose from bulk, rate/);
    expect(() => parse('--lab', '--cpu-prof')).toThrow(UsageError);
  });

  it('names what it does not know', () => {
    expect(() => parse('bulk', 'bulc')).toThrow(/no benchmark is called bulc: choose from bulk, put/);
    expect(() => parse('--fast')).toThrow(UsageError);
  });

  it.each(['0', '-1', '1.5', 'many', '', '1001'])('refuses %j pairs', (text) => {
    expect(() => parse(`--pairs=${text}`)).toThrow(/--pairs .*: write a number from 1 to 1000/);
  });
});
