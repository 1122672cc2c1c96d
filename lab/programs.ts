/** The programs that a lab is made with: where they are, and what they said when they failed. */

import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { refused } from '../src/cli/failures.ts';

/** Programs of the system, which stand outside the PATH of most users. */
const SYSTEM_DIRECTORIES = ['/usr/sbin', '/sbin', '/usr/local/sbin'];
/** Only a program that hangs takes that long. */
const COMMAND_MILLIS_MAX = 30_000;

/** Debian's packages of the programs, for whoever lacks one. */
const PACKAGES = { ip: 'iproute2', tc: 'iproute2', nft: 'nftables', ethtool: 'ethtool' } as const;
export type LabProgram = keyof typeof PACKAGES;

/** The path of a program, or undefined where it isn't installed. */
export function findProgram(name: string, directories = searchedDirectories()): string | undefined {
  for (const directory of directories) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there: look on.
    }
  }
  return undefined;
}

function searchedDirectories(): readonly string[] {
  return [...(process.env.PATH ?? '').split(':'), ...SYSTEM_DIRECTORIES];
}

/** Why these programs can't make a lab here, or undefined. */
export function programTrouble(
  programs: readonly LabProgram[],
  directories = searchedDirectories(),
): string | undefined {
  if (process.platform !== 'linux') return 'a lab needs Linux';
  if (process.getuid?.() !== 0) return 'a lab needs root, for network namespaces: run it with sudo';
  const missing = programs.find((name) => findProgram(name, directories) === undefined);
  return missing === undefined
    ? undefined
    : `${missing} is not installed (on Debian it is in the package ${PACKAGES[missing]})`;
}

/**
 * Runs a program to its end; what it wrote to stdout.
 *
 * @throws GRAMLINE_INVALID with the program's own words when it fails
 */
export function execute(program: LabProgram, parameters: readonly string[]): string {
  try {
    return execFileSync(findProgram(program) ?? program, parameters, {
      timeout: COMMAND_MILLIS_MAX,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      // `ip netns exec` looks for its programs, too.
      env: { ...process.env, LC_ALL: 'C', PATH: [process.env.PATH, ...SYSTEM_DIRECTORIES].join(':') },
    });
  } catch (error) {
    const { stderr, message } = error as Error & { readonly stderr?: string };
    const said = (stderr ?? '').trim().split('\n')[0] || message;
    throw refused(`${program} ${parameters.slice(0, 3).join(' ')} failed: ${said}`, error);
  }
}
