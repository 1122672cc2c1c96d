/** The options of a coordinator that say where its state is, and how to get at it. */

import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { fromHex } from '../base/bytes.ts';
import { isGramlineError } from '../base/errors.ts';
import type { CoordinatorOpenOptions } from '../open.ts';
import { parseState, type StateChoice } from '../store/state-choice.ts';
import { refused, UsageError } from './failures.ts';
import { remark } from './output.ts';

const STATE_DEFAULT = 'lmdb:gramline-state';
const WAIT_SECONDS_DEFAULT = 60;
const WAIT_SECONDS_MAX = 86_400;
const CLUSTER_ID_DIGITS = 32;
/** Group and others may not read a file with a password. */
const FOREIGN_MODE = 0o077;

export interface StateCommandOptions {
  readonly state: string;
  readonly clusterId?: Uint8Array;
  readonly stateWait: number;
  readonly etcdUser?: string;
  readonly etcdPasswordFile?: string;
  readonly etcdCaFile?: string;
  readonly etcdCertFile?: string;
  readonly etcdKeyFile?: string;
}

/** A state, ready to be opened. */
export interface ChosenState {
  /** As the user would write it, with an absolute directory. */
  readonly name: string;
  /** For people. */
  readonly where: string;
  readonly directory: string | undefined;
  readonly options: Pick<CoordinatorOpenOptions, 'clusterId' | 'etcd'> & { readonly state: string };
}

export function withState(command: Command): Command {
  return command
    .addOption(
      new Option('--state <WHERE>', 'the catalog: lmdb:DIR, or etcd:URL,URL,... (etcd 3.4 or newer)').default(
        STATE_DEFAULT,
        STATE_DEFAULT,
      ),
    )
    .addOption(
      new Option('--state-wait <SECONDS>', 'how long to wait for etcd at the start')
        .argParser(parseWait)
        .default(WAIT_SECONDS_DEFAULT),
    )
    .addOption(
      new Option('--cluster-id <HEX>', 'refuse the state of any other cluster').argParser(parseClusterId),
    )
    .option('--etcd-user <NAME>', 'user of etcd')
    .option('--etcd-password-file <FILE>', 'file of its password, readable by you alone')
    .option('--etcd-ca-file <FILE>', 'certificate of who signs for etcd, PEM')
    .option('--etcd-cert-file <FILE>', 'our certificate, where etcd asks for one, PEM')
    .option('--etcd-key-file <FILE>', 'its key, PEM, readable by you alone');
}

/**
 * @param signal ends the waiting for etcd
 * @throws UsageError when the options do not fit, GRAMLINE_INVALID when a file cannot be used
 */
export async function stateOf(options: StateCommandOptions, signal: AbortSignal): Promise<ChosenState> {
  const choice = choiceOf(options.state);
  const cluster = options.clusterId === undefined ? {} : { clusterId: options.clusterId };
  if (choice.kind === 'lmdb') {
    refuseEtcdOptions(options);
    const directory = resolve(choice.directory);
    const state = `lmdb:${directory}`;
    return { name: state, where: directory, directory, options: { state, ...cluster } };
  }
  const state = `etcd:${choice.endpoints.join()}`;
  const { etcdUser, etcdPasswordFile, etcdCaFile, etcdCertFile, etcdKeyFile } = options;
  requireBoth('--etcd-user', etcdUser, '--etcd-password-file', etcdPasswordFile);
  requireBoth('--etcd-cert-file', etcdCertFile, '--etcd-key-file', etcdKeyFile);
  const etcd = {
    user: etcdUser,
    // Editors end a file with a line end, which no password has.
    password: (await secretTextOf(etcdPasswordFile))?.replace(/\r?\n$/, ''),
    ca: await textOf(etcdCaFile),
    certificate: await textOf(etcdCertFile),
    key: await secretTextOf(etcdKeyFile),
    waitMillis: options.stateWait * 1_000,
    onWaiting: remark,
    signal,
  };
  const where = `etcd at ${choice.endpoints.join(', ')}`;
  return { name: state, where, directory: undefined, options: { state, etcd, ...cluster } };
}

function choiceOf(text: string): StateChoice {
  try {
    return parseState(text);
  } catch (error) {
    if (isGramlineError(error, 'GRAMLINE_INVALID')) throw new UsageError(error.message);
    throw error;
  }
}

function refuseEtcdOptions(options: StateCommandOptions): void {
  for (const [option, value] of [
    ['--etcd-user', options.etcdUser],
    ['--etcd-password-file', options.etcdPasswordFile],
    ['--etcd-ca-file', options.etcdCaFile],
    ['--etcd-cert-file', options.etcdCertFile],
    ['--etcd-key-file', options.etcdKeyFile],
  ] as const) {
    if (value !== undefined) throw new UsageError(`${option} is for a state in etcd: write --state etcd:URL`);
  }
}

function requireBoth(one: string, left: unknown, two: string, right: unknown): void {
  if ((left === undefined) === (right === undefined)) return;
  const [given, missing] = left === undefined ? [two, one] : [one, two];
  throw new UsageError(`${given} needs ${missing}`);
}

async function textOf(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : readFile(path, 'utf8');
}

async function secretTextOf(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const { mode } = await stat(path);
  if ((mode & FOREIGN_MODE) !== 0) throw refused(`others can read ${path}: run chmod 600 ${path}`);
  return readFile(path, 'utf8');
}

function parseWait(text: string): number {
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
  if (seconds <= WAIT_SECONDS_MAX) return seconds;
  throw new UsageError(`--state-wait ${text}: write seconds, 0 to ${WAIT_SECONDS_MAX}`);
}

function parseClusterId(text: string): Uint8Array {
  const id = text.length === CLUSTER_ID_DIGITS ? fromHex(text) : undefined;
  if (id !== undefined) return id;
  throw new UsageError(`--cluster-id ${text}: write ${CLUSTER_ID_DIGITS} hex digits`);
}
