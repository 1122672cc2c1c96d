/** All commands of `gramline`, and how each one ends. */

import type { Command } from 'commander';
import { newCommand, runCommandLine } from './command-line.ts';
import type { ExitCode } from './failures.ts';
import { addInspectCommand } from './inspect.ts';
import { addLockCommand } from './lock.ts';
import { addMoveStateCommand } from './move-state.ts';
import { version } from './package-version.ts';
import { addQueryCommands } from './queries.ts';
import { addSecretCommand } from './secret.ts';
import { addServeCommands } from './serve.ts';
import { addToolCommands, runTool, toolOf } from './tools.ts';
import { addTransferCommands } from './transfer.ts';
import { addUpCommand } from './up.ts';

const EXAMPLES = `
Start here:
  gramline up                      a whole cluster on this machine, and its first job
  gramline secret -o c.secret      a secret for a cluster of your own

In the environment: GRAMLINE_COORDINATORS, GRAMLINE_SECRET_FILE, GRAMLINE_ADMISSION_SECRET_FILE.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no coordinator (or no etcd) answered.`;

/** Runs one command line; resolves to the exit code, never rejects. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  const [name, ...parameters] = argv.slice(2);
  const tool = name === undefined ? undefined : toolOf(name);
  if (tool !== undefined) return runTool(tool, parameters);
  return runCommandLine(buildProgram(), argv.slice(2));
}

function buildProgram(): Command {
  const program = newCommand('gramline')
    .usage('COMMAND [options]')
    .description(
      'Place, find, store and fetch data between the machines of one LAN,\nover encrypted UDP, with one shared secret.',
    )
    .version(version(), '--version')
    .addHelpText('after', EXAMPLES);
  addUpCommand(program);
  addServeCommands(program);
  addSecretCommand(program);
  addQueryCommands(program);
  addTransferCommands(program);
  addLockCommand(program);
  addMoveStateCommand(program);
  addInspectCommand(program);
  addToolCommands(program);
  return program;
}
