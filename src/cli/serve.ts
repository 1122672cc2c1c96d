/** `gramline coordinator` and `gramline node`: run one role until a signal ends it. */

import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { toHex } from '../base/bytes.ts';
import { isGramlineError } from '../base/errors.ts';
import type { StorageNode } from '../nodes/node.ts';
import {
  REPAIR_BYTES_PER_SECOND,
  REPAIR_BYTES_PER_SECOND_MIN,
  REPAIR_DELAY_MICROS,
} from '../nodes/repair.ts';
import { DEFAULT_LISTEN, openCoordinator, openNode } from '../open.ts';
import { ADDRESS_BYTES_MAX } from '../wire/index.ts';
import { parseAddressArgument, parseSeconds, parseSize } from './arguments.ts';
import { drain } from './drain.ts';
import { ExitCode, reasonOf, UnreachableError, UsageError } from './failures.ts';
import { Interruption, PARENT_DIRECTORY_VARIABLE, PARENT_PID_VARIABLE } from './interruption.ts';
import { LOG_LEVEL_DEFAULT, logLevelOption, logOf, openLogger } from './logging.ts';
import {
  admissionSecretOf,
  type ClusterOptions,
  clusterSecretOf,
  coordinatorsOf,
  withCluster,
} from './options.ts';
import { formatBytes, print, printJson, remark } from './output.ts';
import { type StateCommandOptions, stateOf, withState } from './state-options.ts';

const DEFS_TEXT_DEFAULT = '127.0.0.1:7403';
const QUOTA_DEFAULT = '10GB';
/** How often a node that is not joined yet looks why. */
const JOIN_LOOK_MILLIS = 100;
/** A reason that stays is told again this often. */
const JOIN_REMIND_MILLIS = 30_000;
const REPAIR_DELAY_SECONDS = REPAIR_DELAY_MICROS / 1_000_000;
const REPAIR_DELAY_SECONDS_MAX = 86_400;

interface CoordinatorCommandOptions extends ClusterOptions, StateCommandOptions {
  readonly listen: string;
  readonly advertise?: string;
  readonly defsText?: string | true;
  readonly repairDelay?: number;
  readonly repairRate?: number;
  readonly logLevel?: string;
}

interface NodeCommandOptions extends ClusterOptions {
  readonly directory: string;
  readonly quota: number;
  readonly listen: string;
  readonly name?: string;
  readonly drain?: true;
  readonly logLevel?: string;
}

export function addServeCommands(program: Command): void {
  withState(
    withCluster(
      program.command('coordinator').description('run a coordinator: the catalog, placement, admission'),
      { coordinators: true },
    ).addOption(listenOption('UDP front port', DEFAULT_LISTEN, DEFAULT_LISTEN)),
  )
    .addOption(
      new Option(
        '--advertise <HOST:PORT>',
        'where others reach it (default: the address that it listens on)',
      ).argParser(parseAddressArgument),
    )
    .option(
      '--defs-text [HOST:PORT]',
      `answer the DEFS text protocol, too: unencrypted, on ${DEFS_TEXT_DEFAULT}`,
    )
    .addOption(
      new Option(
        '--repair-delay <SECONDS>',
        `how long a node may be away before its objects are copied (default: ${REPAIR_DELAY_SECONDS})`,
      ).argParser((text) => parseSeconds(text, '--repair-delay', 1, REPAIR_DELAY_SECONDS_MAX)),
    )
    .addOption(
      new Option(
        '--repair-rate <SIZE>',
        `what repair may copy and check in a second (default: ${formatBytes(REPAIR_BYTES_PER_SECOND)})`,
      ).argParser(parseRepairRate),
    )
    .addOption(logLevelOption())
    .action(coordinator);
  withCluster(program.command('node').description('run a node: stores objects, serves reads'))
    .requiredOption('--directory <DIR>', 'where objects are stored')
    .addOption(
      new Option('--quota <SIZE>', 'most bytes of objects')
        .argParser(parseSize)
        .default(parseSize(QUOTA_DEFAULT), QUOTA_DEFAULT),
    )
    .addOption(listenOption('UDP front port', '0.0.0.0:0', 'a free one'))
    .option('--name <NAME>', "what people call it (default: the host's name)")
    .option('--drain', 'leave for good: have its objects copied to other nodes, then end')
    .addOption(logLevelOption())
    .action(node);
}

function parseRepairRate(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= REPAIR_BYTES_PER_SECOND_MIN) return bytes;
  throw new UsageError(`--repair-rate ${text}: write at least ${formatBytes(REPAIR_BYTES_PER_SECOND_MIN)}`);
}

function listenOption(description: string, address: string, said: string): Option {
  return new Option('--listen <HOST:PORT>', description)
    .argParser(parseAddressArgument)
    .default(address, said);
}

async function coordinator(options: CoordinatorCommandOptions): Promise<void> {
  const { defsText } = options;
  const textAddress = defsText === true ? DEFS_TEXT_DEFAULT : defsText;
  if (textAddress !== undefined) parseAddressArgument(textAddress);
  const interruption = new Interruption(ExitCode.DONE);
  const { signal } = interruption;
  const state = await stateOf(options, signal);
  const opened = await openCoordinator({
    secret: await clusterSecretOf(options),
    ...(await admissionSecretOf(options)),
    listen: options.listen,
    ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
    ...state.options,
    ...(textAddress === undefined ? {} : { defsText: textAddress }),
    ...(options.repairDelay === undefined ? {} : { repairDelayMillis: options.repairDelay * 1_000 }),
    ...(options.repairRate === undefined ? {} : { repairBytesPerSecond: options.repairRate }),
    log: logOf(await openLogger('coordinator', options.logLevel ?? LOG_LEVEL_DEFAULT)),
  }).catch((error: unknown) => {
    if (!isGramlineError(error, 'GRAMLINE_TIMEOUT')) throw error;
    // Told to end while it waited for its state.
    if (signal.aborted) return undefined;
    throw new UnreachableError(error.message);
  });
  if (opened === undefined) return;
  try {
    const { address } = opened;
    if (options.json === true) {
      const { directory = null, name } = state;
      printJson({ role: 'coordinator', address, directory, state: name, defsText: textAddress ?? null });
    } else {
      print(`coordinator ready on ${address}, catalog in ${state.where}`);
      if (textAddress !== undefined) print(`DEFS text, unencrypted, on ${textAddress}`);
    }
    await interruption.wait();
  } finally {
    await opened.close();
    await removeOrphanedDirectory();
  }
}

async function node(options: NodeCommandOptions): Promise<void> {
  const coordinators = coordinatorsOf(options);
  const directory = resolve(options.directory);
  const name = checkedName(options.name ?? hostname());
  const interruption = new Interruption(ExitCode.DONE);
  // Until the first join its troubles are told in plain words; they need not stand in the log as well.
  const logger = await openLogger('node', options.logLevel ?? 'error');
  const opened = await openNode({
    secret: await clusterSecretOf(options),
    ...(await admissionSecretOf(options)),
    coordinators,
    directory,
    quotaBytes: options.quota,
    listen: options.listen,
    name,
    draining: options.drain === true,
    log: logOf(logger),
  });
  try {
    if (!(await waitForJoin(opened, coordinators, interruption))) return;
    logger.level = options.logLevel ?? LOG_LEVEL_DEFAULT;
    const { address } = opened;
    const id = toHex(opened.nodeId);
    if (options.json === true)
      printJson({ role: 'node', name, id, address, directory, quotaBytes: options.quota });
    else print(`node ${name} ready on ${address}, up to ${formatBytes(options.quota)} in ${directory}`);
    if (options.drain === true) await drain(opened, options, interruption.signal);
    else await interruption.wait();
  } finally {
    await opened.close();
    await removeOrphanedDirectory();
  }
}

/** Waits for the first join, saying what is in its way. False when a signal came first. */
async function waitForJoin(
  opened: StorageNode,
  coordinators: readonly string[],
  interruption: Interruption,
): Promise<boolean> {
  let told: string | undefined;
  let toldAt = 0;
  const look = setInterval(() => {
    if (opened.lastError === undefined) return;
    const reason = joinTrouble(opened.lastError, coordinators);
    const now = performance.now();
    if (reason === told && now - toldAt < JOIN_REMIND_MILLIS) return;
    [told, toldAt] = [reason, now];
    remark(`not joined yet: ${reason}; trying on`);
  }, JOIN_LOOK_MILLIS);
  try {
    await Promise.race([opened.joined, interruption.wait()]);
    return !interruption.signal.aborted;
  } finally {
    clearInterval(look);
  }
}

/** What a refusal means to whoever starts a node. */
function joinTrouble(error: unknown, coordinators: readonly string[]): string {
  const at = coordinators.join(', ');
  if (isGramlineError(error, 'GRAMLINE_NO_COORDINATOR')) {
    return `no coordinator answered at ${at}, or the secret differs`;
  }
  if (isGramlineError(error, 'GRAMLINE_DENIED') && error.wireCode !== undefined) {
    return `the coordinator refused this node: its admission secret differs (--admission-secret-file)`;
  }
  if (isGramlineError(error, 'GRAMLINE_CONFLICT')) {
    return 'a node with the same id is up: its directory was copied, or it runs elsewhere';
  }
  return reasonOf(error);
}

function checkedName(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= ADDRESS_BYTES_MAX && !/\p{Cc}/u.test(name)) return name;
  throw new UsageError(`a node's name has 1 to ${ADDRESS_BYTES_MAX} bytes and no control characters`);
}

/** The parent of a cluster on one machine was killed and could not tidy up: each child does, the last one for all. */
async function removeOrphanedDirectory(): Promise<void> {
  const directory = process.env[PARENT_DIRECTORY_VARIABLE];
  const parent = Number(process.env[PARENT_PID_VARIABLE]);
  if (directory === undefined || process.ppid === parent) return;
  await rm(directory, { recursive: true, force: true }).catch(() => undefined);
}
