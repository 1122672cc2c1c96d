/** The log of coordinators and nodes: JSON lines on stderr, by pino. */

import { Option } from 'commander';
import type { Logger } from 'pino';
import type { Log } from '../nodes/ports.ts';
import { UsageError } from './failures.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export const LOG_LEVEL_DEFAULT = 'warn';

export function logLevelOption(): Option {
  const description = `log JSON lines to stderr: ${LOG_LEVELS.join(', ')} (default: ${LOG_LEVEL_DEFAULT})`;
  return new Option('--log-level <LEVEL>', description).argParser(parseLogLevel);
}

function parseLogLevel(text: string): string {
  if ((LOG_LEVELS as readonly string[]).includes(text)) return text;
  throw new UsageError(`'${text}' is no log level: write one of ${LOG_LEVELS.join(', ')}`);
}

export async function openLogger(role: string, level: string): Promise<Logger> {
  // Loaded where it logs: the short commands start sooner without.
  const { pino } = await import('pino');
  return pino(
    { level, base: { role, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** The port that the roles log to. */
export function logOf(logger: Logger): Log {
  return {
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  };
}
