/** The options that commands share, and what follows from them. */

import { type Command, Option } from 'commander';
import type { Client } from '../nodes/client.ts';
import { openClient, readSecret } from '../open.ts';
import { parseCoordinators } from './arguments.ts';
import { UsageError } from './failures.ts';
import { remark } from './output.ts';

export const COORDINATORS_DEFAULT = '127.0.0.1:7400';

export interface OutputOptions {
  readonly json?: boolean;
}

export interface ClusterOptions extends OutputOptions {
  readonly coordinators?: string;
  readonly secretFile?: string;
  readonly admissionSecretFile?: string;
}

/** Adds `--json`. */
export function withOutput(command: Command): Command {
  return command.option('--json', 'print JSON for programs instead of text');
}

/** Adds `--json` and what leads to a cluster; options that a command has no use for stay out of its help. */
export function withCluster(
  command: Command,
  hidden: { readonly coordinators?: boolean; readonly admission?: boolean } = {},
): Command {
  return withOutput(command)
    .addOption(
      new Option('--coordinators <HOST:PORT,...>', 'coordinators, tried in turn')
        .env('GRAMLINE_COORDINATORS')
        .default(COORDINATORS_DEFAULT, COORDINATORS_DEFAULT)
        .hideHelp(hidden.coordinators ?? false),
    )
    .addOption(new Option('--secret-file <FILE>', 'file of the cluster secret').env('GRAMLINE_SECRET_FILE'))
    .addOption(
      new Option(
        '--admission-secret-file <FILE>',
        'file of the secret that admits nodes (default: the cluster secret)',
      )
        .env('GRAMLINE_ADMISSION_SECRET_FILE')
        .hideHelp(hidden.admission ?? false),
    );
}

/** The options of a command that asks as a client. */
export function withClient(command: Command): Command {
  return withCluster(command, { admission: true });
}

export function coordinatorsOf(options: ClusterOptions): readonly string[] {
  return parseCoordinators(options.coordinators || COORDINATORS_DEFAULT);
}

export async function clusterSecretOf(options: ClusterOptions): Promise<Uint8Array> {
  if (!options.secretFile) {
    throw new UsageError(
      'name the secret file: --secret-file FILE, or GRAMLINE_SECRET_FILE in the environment',
    );
  }
  return readSecret(options.secretFile, remark);
}

/** The admission secret where one is named; whoever opens a role uses the cluster's otherwise. */
export async function admissionSecretOf(options: ClusterOptions): Promise<{ admissionSecret?: Uint8Array }> {
  if (!options.admissionSecretFile) return {};
  return { admissionSecret: await readSecret(options.admissionSecretFile, remark) };
}

/** Runs `work` with a client that is closed afterwards, however it ends. */
export async function withOpenClient<Result>(
  options: ClusterOptions,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const coordinators = coordinatorsOf(options);
  const client = await openClient({ coordinators, secret: await clusterSecretOf(options) });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
