/**
 * The key log: with `GRAMLINE_KEYLOG=FILE` in the environment, the keys of every session of this process
 * go into that file, for a dissector such as `spec/gramline.lua`. Off unless the variable is set, and never
 * silent when it is. `open.ts` hands it to the transports; nothing else knows of the file.
 */

import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { toHex } from './base/bytes.ts';
import { GramlineError } from './base/errors.ts';
import type { Log } from './nodes/ports.ts';
import type { KeyLog } from './session/index.ts';
import type { SessionTag } from './wire/index.ts';

const VARIABLE = 'GRAMLINE_KEYLOG';
const OWNER_ONLY = 0o600;
/** Group and others may not read the keys. */
const FOREIGN_MODE = 0o077;
/** A pipe without a reader refuses instead of waiting for one. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

/** Open key logs of this process, by path: all transports share one. */
const opened = new Map<string, KeyLog>();

/**
 * The key log that the environment asks for, or undefined.
 *
 * @param log Warned at every transport that logs its keys; the first one also warns on stderr.
 * @throws GRAMLINE_INVALID when the file can't be written, or others can read it
 */
export function keyLogOf(log: Log): KeyLog | undefined {
  const path = process.env[VARIABLE] ?? '';
  if (path === '') return undefined; // [LOG-1]
  // [LOG-2] Whoever left the variable set by mistake must see it.
  const warning = `${VARIABLE} is set: whoever can read ${path} can read all that this process sends and receives`;
  let keyLog = opened.get(path);
  if (keyLog === undefined) {
    keyLog = writerOf(openKeyFile(path), path);
    opened.set(path, keyLog);
    process.stderr.write(`gramline: ${warning}\n`);
  }
  log.warn(warning);
  return keyLog;
}

/** The line of the keys of one direction in one epoch [LOG-3]. */
export function formatKeyLine(
  tag: SessionTag,
  epoch: number,
  controlKey: Uint8Array,
  recordKey: Uint8Array,
): string {
  const half = (word: number): string => word.toString(16).padStart(8, '0');
  return `GRAMLINE_KEYS ${half(tag.high)}${half(tag.low)} ${epoch} ${toHex(controlKey)} ${toHex(recordKey)}\n`;
}

function openKeyFile(path: string): number {
  let file: number;
  try {
    file = openSync(path, FLAGS, OWNER_ONLY);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new GramlineError('GRAMLINE_INVALID', `${VARIABLE}: ${path} cannot be written (${code})`, {
      cause: error,
    });
  }
  const trouble = troubleWith(file, path);
  if (trouble === undefined) return file;
  closeSync(file);
  throw new GramlineError('GRAMLINE_INVALID', `${VARIABLE}: ${trouble}`);
}

/** Why keys may not go into an open file, or undefined [LOG-2]. */
function troubleWith(file: number, path: string): string | undefined {
  const facts = fstatSync(file);
  if (!facts.isFile()) return `${path} is no regular file`;
  return (facts.mode & FOREIGN_MODE) === 0 ? undefined : `others can read ${path}: run chmod 600 ${path}`;
}

/** One write a line: processes that share a file never mix theirs. */
function writerOf(file: number, path: string): KeyLog {
  let isBroken = false;
  return (...keys) => {
    if (isBroken) return;
    try {
      writeSync(file, formatKeyLine(...keys));
    } catch (error) {
      // A full disk ends the log, not the sessions.
      isBroken = true;
      process.stderr.write(`gramline: the key log ${path} ends here: ${(error as Error).message}\n`);
    }
  };
}
