/**
 * `gramline conformance`: holds an implementation against the specification.
 *
 *   gramline conformance vectors [--vectors DIR] -- COMMAND...     asks a program, over JSON lines
 *   gramline conformance subject                                   answers such questions with our own code
 *   gramline conformance wire HOST:PORT --secret-file FILE         plays a client or node against a peer
 *   gramline conformance listen [HOST:PORT] -- COMMAND...          plays a coordinator for a command
 */

import { isIP } from 'node:net';
import type { Command } from 'commander';
import { parseAddress, tryParseAddress } from '../src/base/address.ts';
import { parseAddressArgument, parseCount } from '../src/cli/arguments.ts';
import { newCommand, runCommandLine } from '../src/cli/command-line.ts';
import { type ExitCode, refused, UsageError } from '../src/cli/failures.ts';
import { admissionSecretOf, type ClusterOptions, clusterSecretOf } from '../src/cli/options.ts';
import { remark } from '../src/cli/output.ts';
import { readSecret } from '../src/open.ts';
import { type ReportOptions, report } from './report.ts';
import type { CaseFacts, RunLimits, VerdictListener } from './run-cases.ts';
import type { Verdict } from './verdicts.ts';

const AT_ONCE_DEFAULT = 8;
const COMMANDS_AT_ONCE = 4;
const LISTEN_DEFAULT = '127.0.0.1:0';
const CASE_SECONDS_DEFAULT = 30;
const TOTAL_SECONDS_DEFAULT = 600;
const SECONDS_MAX = 86_400;
const AT_ONCE_MAX = 64;

interface RunOptions extends ReportOptions {
  readonly cases?: string;
  readonly caseSeconds: number;
  readonly totalSeconds: number;
}

interface VectorsOptions extends RunOptions {
  readonly vectors?: string;
}

interface ListenOptions extends RunOptions, ClusterOptions {
  readonly role: string;
  readonly list?: boolean;
}

interface WireOptions extends RunOptions, ClusterOptions {
  readonly role: string;
  readonly atOnce: number;
  readonly readSecretFile?: string;
  readonly list?: boolean;
}

export function run(parameters: readonly string[]): Promise<ExitCode> {
  const program = newCommand('gramline conformance').description(
    'hold an implementation against the specification',
  );
  withRun(
    program
      .command('wire')
      .description('play a client or node against a coordinator or node that runs')
      .argument('[HOST:PORT]', 'its front port', parseAddressArgument)
      .option('--role <ROLE>', 'what the peer is: coordinator or node', 'coordinator')
      .option('--at-once <N>', 'cases under way at once', countOf('--at-once', AT_ONCE_MAX), AT_ONCE_DEFAULT)
      .option('--list', 'print the cases instead of running them'),
  )
    .option('--secret-file <FILE>', 'file of the cluster secret')
    .option(
      '--admission-secret-file <FILE>',
      'file of the secret that admits nodes (default: the cluster secret)',
    )
    .option(
      '--read-secret-file <FILE>',
      'file of a cluster secret of the peer that carries the right to read alone',
    )
    .action(wire);
  withRun(
    program
      .command('vectors')
      .description('ask a program every vector, over lines of JSON')
      .usage('[options] -- COMMAND...')
      .argument('<COMMAND...>', 'the program and its parameters')
      .option('--vectors <DIR>', 'folder of the vector files (default: those of this version)'),
  ).action(vectors);
  withRun(
    program
      .command('listen')
      .description('play a coordinator for a command that is started for each case')
      .usage('[options] [HOST:PORT] -- COMMAND...')
      .argument(
        '<WORDS...>',
        `[HOST:PORT] (default: ${LISTEN_DEFAULT}), then the command; {address} stands for HOST:PORT`,
      )
      .option('--role <ROLE>', 'what the command is: client or node', 'client')
      .option('--list', 'print the cases instead of running them'),
  )
    .option('--secret-file <FILE>', 'file of the cluster secret that the command has')
    .option(
      '--admission-secret-file <FILE>',
      'file of the secret that admits nodes (default: the cluster secret)',
    )
    .action(listen);
  program
    .command('subject')
    .description('answer vectors on standard input with our own code')
    .action(subject);
  return runCommandLine(program, parameters);
}

function withRun(command: Command): Command {
  return command
    .option(
      '--cases <FILTER>',
      'only cases whose number, section, title or clause contains this; commas between several',
    )
    .option(
      '--case-seconds <N>',
      'deadline of one case',
      countOf('--case-seconds', SECONDS_MAX),
      CASE_SECONDS_DEFAULT,
    )
    .option(
      '--total-seconds <N>',
      'deadline of the run',
      countOf('--total-seconds', SECONDS_MAX),
      TOTAL_SECONDS_DEFAULT,
    )
    .option('--json', 'print JSON for programs instead of text')
    .option('--junit <FILE>', 'write a JUnit report, too');
}

function countOf(option: string, max: number): (text: string) => number {
  return (text) => parseCount(text, option, max);
}

async function wire(address: string | undefined, options: WireOptions): Promise<void> {
  const { wireCases } = await import('./cases/all.ts');
  const cases = wireCases.filter(filterOf(options.cases));
  if (options.list === true) return listCases(cases, options);
  if (address === undefined) throw new UsageError('name the peer, as HOST:PORT');
  const { role } = options;
  if (role !== 'coordinator' && role !== 'node')
    throw new UsageError(`--role ${role}: write coordinator or node`);
  if (cases.length === 0) throw new UsageError(`no case matches '${options.cases}'`);
  const secret = await clusterSecretOf(options);
  const { readSecretFile } = options;
  const reader = readSecretFile === undefined ? {} : { readSecret: await readSecret(readSecretFile, remark) };
  const { findTarget } = await import('./target.ts');
  const target = await findTarget({
    address,
    secret,
    ...(await admissionSecretOf(options)),
    ...reader,
    role,
  });
  const { runWireCases } = await import('./run-cases.ts');
  const verdicts = await runWireCases(target, cases, limitsOf(options, options.atOnce), teller(options));
  await conclude(verdicts, options);
}

async function vectors(command: readonly string[], options: VectorsOptions): Promise<void> {
  const { readVectors, runVectors, vectorsDirectory } = await import('./vectors.ts');
  const { SubjectProcess } = await import('./subject-process.ts');
  const all = await readVectors(options.vectors ?? vectorsDirectory());
  const chosen = all.filter(filterOf(options.cases));
  if (chosen.length === 0) throw new UsageError(`no case matches '${options.cases}'`);
  const subject = new SubjectProcess(command);
  await subject.start();
  try {
    await conclude(await runVectors(subject, chosen, limitsOf(options, 1), teller(options)), options);
  } finally {
    await subject.end();
  }
}

async function subject(): Promise<void> {
  const { serveSubject } = await import('./subject.ts');
  await serveSubject(process.stdin, process.stdout);
}

async function listen(words: readonly string[], options: ListenOptions): Promise<void> {
  const { role } = options;
  if (role !== 'client' && role !== 'node') throw new UsageError(`--role ${role}: write client or node`);
  const { listenCases } = await import('./listen-cases/initiators.ts');
  const { nodeCases } = await import('./listen-cases/nodes.ts');
  const all = role === 'node' ? [...listenCases, ...nodeCases] : listenCases;
  const cases = all.filter(filterOf(options.cases));
  if (options.list === true) return listCases(cases, options);
  if (cases.length === 0) throw new UsageError(`no case matches '${options.cases}'`);
  const hasAddress = tryParseAddress(words[0]!) !== undefined;
  const { host, port } = parseAddress(hasAddress ? words[0]! : LISTEN_DEFAULT);
  const command = hasAddress ? words.slice(1) : words;
  if (command.length === 0) throw new UsageError('name the command behind --');
  if (isIP(host) === 0) throw new UsageError(`${host} is no IP address to listen on`);
  const secret = await clusterSecretOf(options);
  const { bestSuite } = await import('../src/crypto/best-suite.ts');
  const { deriveClusterKeys } = await import('../src/crypto/index.ts');
  const { checkCommand, ListenContext } = await import('./listen.ts');
  const suite = bestSuite();
  const { admissionSecret = secret } = await admissionSecretOf(options);
  const keys = deriveClusterKeys(suite, secret);
  const target = { suite, keys, listen: { host, port }, command, admissionSecret };
  await checkCommand(target);
  const jobs = cases.map((facts) => ({ facts, start: () => new ListenContext(target, facts.run) }));
  const { runJobs } = await import('./run-cases.ts');
  // A port that was named can be had once at a time.
  const limits = limitsOf(options, port === 0 ? COMMANDS_AT_ONCE : 1);
  await conclude(await runJobs(jobs, limits, teller(options)), options);
}

function limitsOf(options: RunOptions, atOnce: number): RunLimits {
  return { atOnce, caseMillis: options.caseSeconds * 1_000, totalMillis: options.totalSeconds * 1_000 };
}

/** On a terminal a case that fails is told at once. */
function teller(options: ReportOptions): VerdictListener {
  const isWanted = options.json !== true && process.stderr.isTTY === true;
  return ({ id, title, outcome, brokenClause }) => {
    if (isWanted && outcome === 'fail') remark(`${id} fails [${brokenClause}]: ${title}`);
    return undefined;
  };
}

/** Whether a case has one of the words in its number, section, title or clauses. */
export function filterOf(words: string | undefined): (facts: CaseFacts) => boolean {
  const wanted = (words ?? '').split(',').filter((word) => word !== '');
  if (wanted.length === 0) return () => true;
  return ({ id, group, title, clauses }) =>
    wanted.some((word) => id === word || clauses.includes(word) || group === word || title.includes(word));
}

async function listCases(cases: readonly CaseFacts[], options: ReportOptions): Promise<void> {
  const { print, printJson } = await import('../src/cli/output.ts');
  if (options.json === true) {
    for (const { id, group, title, clauses } of cases) printJson({ id, group, title, clauses });
    return;
  }
  for (const { id, clauses, title } of cases) print(`${id}  ${title}  [${clauses.join(' ')}]`);
}

async function conclude(verdicts: readonly Verdict[], options: ReportOptions): Promise<void> {
  await report(verdicts, options);
  const failed = verdicts.filter(({ outcome }) => outcome === 'fail').length;
  if (failed > 0) throw refused(`${failed} of ${verdicts.length} cases failed`);
}
