/** All commands of `gramline`, and how each one ends. */

import { Command, CommanderError } from 'commander';
import { ExitCode, exitCodeOf, reasonOf } from './failures.ts';
import { addInspectCommand } from './inspect.ts';
import { remark } from './output.ts';
import { version } from './package-version.ts';
import { addQueryCommands } from './queries.ts';
import { addSecretCommand } from './secret.ts';
import { addServeCommands } from './serve.ts';
import { addTransferCommands } from './transfer.ts';
import { addUpCommand } from './up.ts';

const EXAMPLES = `
Start here:
  gramline up                      a whole cluster on this machine, and its first job
  gramline secret -o c.secret      a secret for a cluster of your own

In the environment: GRAMLINE_COORDINATORS, GRAMLINE_SECRET_FILE, GRAMLINE_ADMISSION_SECRET_FILE.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no coordinator answered.`;

/** Runs one command line; resolves to the exit code, never rejects. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  try {
    await buildProgram().parseAsync([...argv]);
    return ExitCode.DONE;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version that were asked for are no error; everything else commander has said itself.
      return error.exitCode === 0 ? ExitCode.DONE : ExitCode.USAGE;
    }
    remark(reasonOf(error));
    return exitCodeOf(error);
  }
}

function buildProgram(): Command {
  const program = new Command('gramline')
    .usage('COMMAND [options]')
    .description(
      'Place, find, store and fetch data between the machines of one LAN,\nover encrypted UDP, with one shared secret.',
    )
    .version(version(), '--version')
    .exitOverride()
    .configureOutput({
      outputError: (text, write) =>
        write(
          `${text
            .replace(/^error: /, 'gramline: ')
            .trim()
            .replaceAll(/\s*\n\s*/g, ' ')}\n`,
        ),
    })
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${argumentsOf(command)}`.trimEnd() })
    .addHelpText('after', EXAMPLES);
  addUpCommand(program);
  addServeCommands(program);
  addSecretCommand(program);
  addQueryCommands(program);
  addTransferCommands(program);
  addInspectCommand(program);
  return program;
}

/** The operands of a command, without its options. */
function argumentsOf(command: Command): string {
  return command
    .usage()
    .replace(/\[options\]\s*/, '')
    .replaceAll(/[<>]/g, '');
}
