/** How a command ends: exit codes, and one line that says why. */

import { GramlineError, isGramlineError } from '../base/errors.ts';

export const ExitCode = {
  DONE: 0,
  /** Refused or failed: the reason stands on stderr. */
  FAILED: 1,
  /** The command line, or the environment that completes it, is wrong. */
  USAGE: 2,
  /** No coordinator answered; or, to a coordinator, not the store of its state. */
  NO_COORDINATOR: 3,
} as const;
/** One of these, or that of a command that was run for the user. */
export type ExitCode = number;

/** The command line is wrong; the message says how it should look. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What a command cannot do without did not answer. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** A signal ended the command before it was done. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** A command that was run for the user has ended, and said what there was to say: its exit code is ours. */
export class CommandEnded extends Error {
  override readonly name = 'CommandEnded';
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`a command has ended with ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** An error of the kind that a user can do something about. */
export function refused(message: string, cause?: unknown): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', message, cause === undefined ? {} : { cause });
}

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return ExitCode.USAGE;
  if (error instanceof UnreachableError) return ExitCode.NO_COORDINATOR;
  // The client wraps what each coordinator said; without a cause it is a node that did not answer.
  if (isGramlineError(error, 'GRAMLINE_NO_COORDINATOR') && error.cause !== undefined) {
    return ExitCode.NO_COORDINATOR;
  }
  return ExitCode.FAILED;
}

/** Why, in one line without a stack. */
export function reasonOf(error: unknown): string {
  return oneLine(sentenceOf(error));
}

function sentenceOf(error: unknown): string {
  const isOurs =
    error instanceof GramlineError ||
    error instanceof UsageError ||
    error instanceof UnreachableError ||
    error instanceof InterruptedError;
  if (isOurs) return error.message;
  if (!(error instanceof Error)) return `internal error: ${String(error)}: please report it`;
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (syscall !== undefined && code !== undefined) {
    return fileSentence(code, path) ?? `${error.message}`;
  }
  return `internal error: ${error.name}: ${error.message}: please report it`;
}

/** What a failed file operation means to whoever named the file. */
function fileSentence(code: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  switch (code) {
    case 'ENOENT':
      return `no such file or directory: ${path}`;
    case 'EACCES':
    case 'EPERM':
      return `no permission for ${path}`;
    case 'EISDIR':
      return `${path} is a directory`;
    case 'ENOTDIR':
      return `part of ${path} is no directory`;
    default:
      return undefined;
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n]+\s*/g, ' ').trim();
}
