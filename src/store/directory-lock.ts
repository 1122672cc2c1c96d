/**
 * One process at a time may use a directory of objects or of state.
 *
 * Each opener creates an empty file of its own, `in-use.PID.START.BOOT.CHANCE`, and only then
 * looks for the files of others. A file whose process no longer lives is removed; if one of a
 * living process is left, the opener removes its own and gives way. Of two openers at least the
 * one that created its file later sees the other's, so never do both win. Nobody ever removes a
 * file that could have become somebody else's meanwhile, since no two openers share a name: the
 * usual race in taking over a stale lock does not exist. `kill -9` leaves a stale file, no lock.
 *
 * Left out: processes of different PID namespaces (containers) that share one directory cannot
 * see each other, and machines that share one over NFS neither.
 */

import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, realpath, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { GramlineError } from '../base/errors.ts';
import { isMissing } from './durable-files.ts';
import { storeError } from './store-errors.ts';

/** Two openers that meet may both give way; each tries so often in all. */
const LOCK_ATTEMPTS_MAX = 4;

/** Longest wait between two attempts; chance picks the wait, so that the two part. */
const LOCK_PAUSE_MILLIS_MAX = 40;

const LOCK_NAME = /^in-use\.([0-9]{1,10})\.([0-9]{1,20})\.([0-9a-f]{8})\.[0-9a-f]{16}$/;

export interface DirectoryLock {
  /** Gives the directory up. Harmless twice. */
  release(): Promise<void>;
}

/** Directories that this process holds, by real path; each has an open store behind it. */
const heldHere = new Set<string>();

/**
 * Takes `directory` (made if it is missing) for this process, until `release` or the end of the process.
 *
 * @throws GramlineError `GRAMLINE_IN_USE` when a living process, this one included, holds it.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  let path: string;
  try {
    await mkdir(directory, { recursive: true });
    path = await realpath(directory);
  } catch (error) {
    throw storeError(error, `open ${directory}`);
  }
  if (heldHere.has(path)) throw inUse(directory, process.pid);
  heldHere.add(path);
  let file: string;
  try {
    file = await claim(path, directory);
  } catch (error) {
    heldHere.delete(path);
    throw storeError(error, `lock ${directory}`);
  }
  let isHeld = true;
  return {
    async release() {
      if (!isHeld) return;
      isHeld = false;
      await removeClaim(file);
      heldHere.delete(path);
    },
  };
}

async function claim(path: string, directory: string): Promise<string> {
  const boot = await bootLabel();
  const start = (await readProcessStart(process.pid)) ?? '0';
  for (let attempt = 1; ; attempt++) {
    const name = `in-use.${process.pid}.${start}.${boot}.${randomBytes(8).toString('hex')}`;
    const file = join(path, name);
    await (await open(file, 'wx')).close();
    const holder = await findOtherHolder(path, name, boot).catch(async (error: unknown) => {
      await removeClaim(file);
      throw error;
    });
    if (holder === undefined) return file;
    await removeClaim(file);
    if (attempt === LOCK_ATTEMPTS_MAX) throw inUse(directory, holder);
    await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * LOCK_PAUSE_MILLIS_MAX));
  }
}

/** The process id of another living holder; files of dead ones are removed on the way. */
async function findOtherHolder(path: string, ownName: string, boot: string): Promise<number | undefined> {
  for (const name of await readdir(path)) {
    const match = LOCK_NAME.exec(name);
    if (match === null || name === ownName) continue;
    const pid = Number(match[1]);
    if (match[3] === boot && (await isAlive(pid, match[2]!))) return pid;
    await removeClaim(join(path, name));
  }
  return undefined;
}

/** Whether the process `pid` lives and is the one that started at `start`. */
async function isAlive(pid: number, start: string): Promise<boolean> {
  if (start !== '0') return (await readProcessStart(pid)) === start;
  // Without /proc a process id is all there is. One equal to ours that we do not hold is a leftover.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Start of a living process in clock ticks since boot; undefined for a dead one, or without /proc. */
async function readProcessStart(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The command name, in parentheses, may itself hold spaces and parentheses: count from the last.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie has closed its files; it only waits for its parent.
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return fields[19];
}

/** Tells this boot of the machine from others: start times count from it. */
async function bootLabel(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).slice(0, 8);
  } catch {
    return '00000000';
  }
}

async function removeClaim(file: string): Promise<void> {
  await unlink(file).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
}

function inUse(directory: string, pid: number): GramlineError {
  return new GramlineError(
    'GRAMLINE_IN_USE',
    `${directory} is in use by process ${pid}. Stop that process, or choose another directory.`,
  );
}
