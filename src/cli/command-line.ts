/** What all command lines of `gramline` share: how help and errors look, and how a run ends. */

import { Command, CommanderError } from 'commander';
import { CommandEnded, ExitCode, exitCodeOf, reasonOf } from './failures.ts';
import { remark } from './output.ts';

/** A command whose errors are one line, and whose help and errors come back to {@link runCommandLine}. */
export function newCommand(name: string): Command {
  return new Command(name)
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
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${argumentsOf(command)}`.trimEnd() });
}

/** Runs `program` on the words behind its name; resolves to the exit code, never rejects. */
export async function runCommandLine(program: Command, parameters: readonly string[]): Promise<ExitCode> {
  try {
    await program.parseAsync([...parameters], { from: 'user' });
    return ExitCode.DONE;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version that were asked for are no error; everything else commander has said itself.
      return error.exitCode === 0 ? ExitCode.DONE : ExitCode.USAGE;
    }
    if (error instanceof CommandEnded) return error.exitCode;
    remark(reasonOf(error));
    return exitCodeOf(error);
  }
}

/** The operands of a command, without its options. */
function argumentsOf(command: Command): string {
  return command
    .usage()
    .replace(/\[options\]\s*/, '')
    .replaceAll(/[<>]/g, '');
}
