/** `gramline move-state`: takes the state of a cluster from one store to another, while no coordinator runs. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { GramlineError } from '../base/errors.ts';
import type { StateStore } from '../nodes/ports.ts';
import { COORDINATOR_END, COORDINATOR_PREFIX, isPassing } from '../nodes/state-keys.ts';
import { openRawState, openState } from '../store/open-state.ts';
import { STATE_FILE } from '../store/state-format.ts';
import { moveState } from '../store/state-moving.ts';
import { systemEntropy } from '../udp/index.ts';
import { ExitCode, refused, UnreachableError } from './failures.ts';
import { Interruption } from './interruption.ts';
import { type OutputOptions, withOutput } from './options.ts';
import { print, printJson, remark } from './output.ts';
import { type StateCommandOptions, stateOf, withState } from './state-options.ts';

/** Progress is told whenever so many entries have arrived. */
const PROGRESS_ENTRIES = 100_000;

interface MoveOptions extends OutputOptions, StateCommandOptions {
  readonly from: string;
}

export function addMoveStateCommand(program: Command): void {
  withState(
    withOutput(
      program
        .command('move-state')
        .description('copy the state of a cluster to another store, while no coordinator runs'),
    ).addOption(
      new Option('--from <WHERE>', 'the state as it is: lmdb:DIR, or etcd:URL,URL,...').makeOptionMandatory(),
    ),
  ).action(move);
}

async function move(options: MoveOptions): Promise<void> {
  const interruption = new Interruption(ExitCode.FAILED);
  const { signal } = interruption;
  const source = await stateOf(optionsFor(options.from, options), signal);
  const target = await stateOf(optionsFor(options.state, options), signal);
  if (source.name === target.name) throw refused('--from and --state are the same: name two');
  if (source.directory !== undefined) await requireState(source.directory);
  const entropy = systemEntropy.bytes;
  const from = await reached(openState({ ...source.options, entropy }));
  try {
    requireIdle(from, source.where);
    const { clusterId } = from;
    const to = await reached(openRawState({ ...target.options, entropy, clusterId }));
    try {
      requireIdle(to, target.where);
      const entries = await moveState({ from, to, isPassing, onProgress: tell });
      if (options.json === true) printJson({ from: source.name, state: target.name, entries });
      else {
        print(`moved ${entries} entries from ${source.where} to ${target.where}, and compared them`);
        print(`start coordinators with --state ${target.name}; the old state can go when they work`);
      }
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

/** How to get at etcd is said once, for whichever of the two is there. */
function optionsFor(state: string, options: MoveOptions): StateCommandOptions {
  if (!state.startsWith('lmdb:')) return { ...options, state };
  const { stateWait, clusterId } = options;
  return { state, stateWait, ...(clusterId === undefined ? {} : { clusterId }) };
}

/** Opening one that is not there would make it. */
async function requireState(directory: string): Promise<void> {
  try {
    await stat(join(directory, STATE_FILE));
  } catch (error) {
    throw refused(`there is no state in ${directory}: name the directory of a coordinator's --state`, error);
  }
}

/** A state that is shared has no lock: who runs on it says so in it. */
function requireIdle(state: StateStore, where: string): void {
  if (!state.isShared) return;
  for (const _entry of state.range(COORDINATOR_PREFIX, COORDINATOR_END, 1))
    throw refused(`a coordinator runs on the state in ${where}: stop all of them first`);
}

async function reached(opening: Promise<StateStore>): Promise<StateStore> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof GramlineError && error.code === 'GRAMLINE_TIMEOUT')
      throw new UnreachableError(error.message);
    throw error;
  }
}

function tell(entries: number): void {
  if (entries % PROGRESS_ENTRIES === 0) remark(`${entries} entries have arrived`);
}
