import { describe, expect, it } from 'vitest';
import { GramlineError } from '../../src/base/errors.ts';
import {
  parseCoordinators,
  parseCount,
  parseHashArgument,
  parseReplicas,
  parseSize,
} from '../../src/cli/arguments.ts';
import { ExitCode, exitCodeOf, InterruptedError, reasonOf, UsageError } from '../../src/cli/failures.ts';
import { formatBytes, formatCount, formatRate, formatTable } from '../../src/cli/output.ts';
import { run } from '../../src/cli/program.ts';
import { gramline, reason } from './support.ts';

describe('what stands on the command line', () => {
  it('reads sizes with decimal and binary units, rounded up', () => {
    const sizes = {
      '0': 0,
      '120': 120,
      '120B': 120,
      '1k': 1_000,
      '10GB': 1e10,
      '1.5 kB': 1_500,
      '2KiB': 2_048,
      '1.5GiB': 1.5 * 2 ** 30,
      '0.0001kB': 1,
    };
    for (const [text, bytes] of Object.entries(sizes)) expect(parseSize(text), text).toBe(bytes);
    expect(parseSize(String(2 ** 48 - 1))).toBe(2 ** 48 - 1);
    for (const text of [
      '',
      '-1',
      '1e3',
      'GB',
      '1 XB',
      '1.',
      '.5',
      '0x10',
      '1,5',
      String(2 ** 48),
      '999999TB',
      '1constructor',
    ]) {
      expect(() => parseSize(text), text).toThrow(UsageError);
    }
  });

  it('reads hashes of 64 hex digits in either case', () => {
    expect(parseHashArgument('AB'.repeat(32))).toBe('ab'.repeat(32));
    for (const text of ['', 'ab', `${'ab'.repeat(32)}\n`, `0x${'a'.repeat(62)}`])
      expect(() => parseHashArgument(text)).toThrow(UsageError);
  });

  it('reads coordinators with commas between them', () => {
    expect(parseCoordinators('a:1, [::1]:2,')).toEqual(['a:1', '[::1]:2']);
    for (const text of ['', ',', 'a', 'a:99999', 'a:1,b'])
      expect(() => parseCoordinators(text)).toThrow(UsageError);
  });

  it('reads counts up to their most, and no further', () => {
    expect([parseReplicas('1'), parseReplicas('8'), parseCount('64', '--nodes', 64)]).toEqual([1, 8, 64]);
    for (const text of ['0', '9', '-1', '1.5', '', '1e0', '0000001'])
      expect(() => parseReplicas(text), text).toThrow(UsageError);
  });
});

describe('what people read', () => {
  it('writes sizes with three digits or so', () => {
    const texts = {
      0: '0 B',
      999: '999 B',
      1000: '1 kB',
      999499: '999 kB',
      999500: '1 MB',
      98932688: '98.9 MB',
      1e10: '10 GB',
      123456789: '123 MB',
    };
    for (const [bytes, text] of Object.entries(texts)) expect(formatBytes(Number(bytes))).toBe(text);
    expect([formatRate(1e6, 0.5), formatRate(0, 0)]).toEqual(['2 MB/s', '0 B/s']);
    expect([formatCount(1, 'object'), formatCount(2_000, 'object')]).toEqual(['1 object', '2,000 objects']);
  });

  it('aligns tables, numbers to the right', () => {
    const table = formatTable(
      [{ title: 'NAME' }, { title: 'FREE', align: 'right' }, { title: 'ID' }],
      [
        ['n1', '9 GB', 'a'],
        ['longer', '10 GB', 'b'],
      ],
    );
    expect(table.split('\n')).toEqual(['NAME     FREE  ID', 'n1       9 GB  a', 'longer  10 GB  b']);
  });

  it('says why in one line, without a stack', () => {
    expect(reasonOf(new GramlineError('GRAMLINE_IO', 'first\n  second'))).toBe('first second');
    expect(reasonOf(new TypeError('x is not a function'))).toBe(
      'internal error: TypeError: x is not a function: please report it',
    );
    expect(reasonOf('thrown text')).toMatch(/^internal error: thrown text/);
    const missing = Object.assign(new Error('ENOENT: no such file'), {
      code: 'ENOENT',
      syscall: 'open',
      path: '/x',
    });
    expect(reasonOf(missing)).toBe('no such file or directory: /x');
  });

  it('has an exit code for each kind of failure', () => {
    const codes = [
      new UsageError('x'),
      new GramlineError('GRAMLINE_NO_COORDINATOR', 'no coordinator', { cause: new Error('x') }),
      new GramlineError('GRAMLINE_NO_COORDINATOR', 'a node did not answer'),
      new GramlineError('GRAMLINE_NO_SPACE', 'x'),
      new InterruptedError('x'),
      new Error('x'),
    ].map(exitCodeOf);
    expect(codes).toEqual([
      ExitCode.USAGE,
      ExitCode.NO_COORDINATOR,
      ExitCode.FAILED,
      ExitCode.FAILED,
      ExitCode.FAILED,
      ExitCode.FAILED,
    ]);
  });
});

describe('the program', () => {
  it('takes what it does not know as wrong usage, in one line', async () => {
    for (const [parameters, rule] of [
      [['frobnicate'], /unknown command 'frobnicate'/],
      [['whereis', 'x'], /unknown command 'whereis' \(Did you mean where-is\?\)/],
      [['status', '--frobnicate'], /unknown option '--frobnicate'/],
      [['status', 'extra'], /too many arguments/],
      [['put'], /missing required argument 'FILE'/],
      [['get', 'ab'.repeat(32)], /required option '-o, --out <FILE>' not specified/],
      [['put', 'x', '--replicas', 'many'], /--replicas many: write a number from 1 to 8/],
      [['get', 'ab'.repeat(32), '-o', '-', '--json'], /--json and -o - both write to standard output/],
    ] as const) {
      const finished = await gramline(parameters);
      expect([finished.code, finished.stdout, reason(finished)], parameters.join(' ')).toEqual([
        2,
        '',
        expect.stringMatching(rule),
      ]);
    }
  });

  it('shows its help and version when asked, and how to ask when not', async () => {
    const [help, version, bare] = await Promise.all([
      gramline(['--help']),
      gramline(['--version']),
      gramline([]),
    ]);
    expect([help.code, help.stderr, version.code]).toEqual([0, '', 0]);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    for (const name of [
      'up',
      'coordinator',
      'node',
      'secret',
      'where-to',
      'where-is',
      'put',
      'get',
      'rm',
      'status',
      'inspect',
    ]) {
      expect(help.stdout).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'));
    }
    expect([bare.code, bare.stdout]).toEqual([2, '']);
    expect(bare.stderr).toMatch(/^Usage: gramline/);
  });

  it('never rejects', async () => {
    await expect(run(['node', 'gramline', 'where-is', 'abc'])).resolves.toBe(ExitCode.USAGE);
  });
});
