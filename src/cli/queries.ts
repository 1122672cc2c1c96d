/** Small questions to a coordinator: where-to, where-is, rm, status. */

import type { Command } from 'commander';
import { type GramlineError, isGramlineError } from '../base/errors.ts';
import type { ClusterStatus, ObjectPlaces, Replica } from '../nodes/client.ts';
import { NodeState } from '../wire/index.ts';
import { parseHashArgument, parseSize } from './arguments.ts';
import { ExitCode } from './failures.ts';
import { Interruption } from './interruption.ts';
import { type ClusterOptions, withClient, withOpenClient } from './options.ts';
import { type Column, formatBytes, formatCount, formatTable, paint, print, printJson } from './output.ts';

/** Names of the states of a node, as they stand in JSON. */
const STATE_NAMES: Readonly<Record<NodeState, string>> = {
  [NodeState.UP]: 'up',
  [NodeState.DOWN]: 'down',
  [NodeState.FULL]: 'full',
  [NodeState.FAILED]: 'failed',
  [NodeState.DRAINING]: 'draining',
  [NodeState.GONE]: 'gone',
};
const STATE_COLOURS: Readonly<Record<NodeState, 'green' | 'red' | 'yellow'>> = {
  [NodeState.UP]: 'green',
  [NodeState.DOWN]: 'red',
  [NodeState.FULL]: 'yellow',
  [NodeState.FAILED]: 'red',
  [NodeState.DRAINING]: 'yellow',
  [NodeState.GONE]: 'red',
};
const NODE_COLUMNS: readonly Column[] = [
  { title: 'NAME' },
  { title: 'STATE' },
  { title: 'ADDRESS' },
  { title: 'OBJECTS', align: 'right' },
  { title: 'FREE', align: 'right' },
  { title: 'QUOTA', align: 'right' },
  { title: 'OFFLOAD' },
  { title: 'ID' },
];
const REPLICA_COLUMNS: readonly Column[] = [{ title: '' }, { title: '' }];

export function addQueryCommands(program: Command): void {
  withClient(program.command('where-to').description('reserve space for an object, and say where'))
    .usage('[options] [HASH] SIZE')
    .argument('<HASH-or-SIZE>', 'with a HASH, an object that exists already is a conflict')
    .argument('[SIZE]', 'bytes, or a number with kB, MB, GB, KiB, MiB or GiB')
    .action(whereTo);
  withClient(program.command('where-is').description('say which nodes hold an object, or each of several'))
    .argument('<HASH...>', '64 hex digits')
    .action(whereIs);
  withClient(program.command('rm').description('remove an object from all nodes'))
    .argument('<HASH>', '64 hex digits')
    .action(remove);
  withClient(
    program.command('events').description('tell which nodes come, go and change, until Ctrl-C'),
  ).action(events);
  withClient(program.command('status').description('show coordinators, nodes and what they hold')).action(
    status,
  );
}

/** Prints who comes and goes until a signal ends it. */
async function events(options: ClusterOptions): Promise<void> {
  const interruption = new Interruption(ExitCode.DONE);
  const { signal } = interruption;
  await withOpenClient(options, async (client) => {
    // A node that goes to a new leader is told of again, and nothing has changed for whoever looks.
    const known = new Map<string, string>();
    try {
      for await (const { id, name, address, incarnation, state } of client.members({ signal })) {
        const now = `${name} ${address} ${incarnation} ${state}`;
        if (known.get(id) === now) continue;
        if (state === NodeState.GONE) known.delete(id);
        else known.set(id, now);
        const at = new Date().toISOString();
        const named = STATE_NAMES[state];
        if (options.json === true) printJson({ at, node: name, id, address, incarnation, state: named });
        else print(`${at}  ${name} at ${address}: ${paint(STATE_COLOURS[state], named)}`);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  });
}

async function whereTo(first: string, second: string | undefined, options: ClusterOptions): Promise<void> {
  const hash = second === undefined ? undefined : parseHashArgument(first);
  const bytes = parseSize(second ?? first);
  await withOpenClient(options, (client) =>
    answered(options, hash, async () => {
      const reserved = await client.whereTo(bytes, { hash });
      const leaseSeconds = reserved.leaseMillis / 1000;
      if (options.json === true) {
        const locations = reserved.replicas.map(locationOf);
        const { revision } = reserved;
        printJson({ code: 0, hash: hash ?? null, locations, revision, leaseSeconds });
        return;
      }
      print(formatReplicas(reserved.replicas));
      print(`${formatBytes(bytes)} reserved for ${leaseSeconds} s`);
    }),
  );
}

async function whereIs(hashTexts: readonly string[], options: ClusterOptions): Promise<void> {
  const hashes = hashTexts.map(parseHashArgument);
  const [hash] = hashes;
  if (hashes.length > 1) return whereAre(hashes, options);
  await withOpenClient(options, (client) =>
    answered(options, hash, async () => printPlaces(await client.whereIs(hash!), options)),
  );
}

/** Several hashes: an answer for each; fails with the first refusal when all have been printed. */
async function whereAre(hashes: readonly string[], options: ClusterOptions): Promise<void> {
  const outcomes = await withOpenClient(options, (client) => client.whereIsMany(hashes));
  for (const [index, outcome] of outcomes.entries()) {
    const hash = hashes[index]!;
    const isRefused = isGramlineError(outcome);
    if (options.json !== true) print(paint('bold', hash));
    if (!isRefused) printPlaces(outcome, options);
    else if (options.json === true) printJson(refusalJson(outcome, hash));
    else print(outcome.message);
  }
  const refused = outcomes.find((outcome) => isGramlineError(outcome));
  if (refused !== undefined) throw refused;
}

function printPlaces(
  { hash, bytes, replicas, revision, stale }: ObjectPlaces,
  options: ClusterOptions,
): void {
  if (options.json === true) {
    printJson({ code: 0, hash, locations: replicas.map(locationOf), revision, stale, bytes });
    return;
  }
  print(formatReplicas(replicas));
  const age = stale ? paint('yellow', ', stale: the coordinator is cut off') : '';
  print(`${formatBytes(bytes)} in ${formatCount(replicas.length, 'replica')}${age}`);
}

async function remove(hashText: string, options: ClusterOptions): Promise<void> {
  const hash = parseHashArgument(hashText);
  await withOpenClient(options, (client) => client.rm(hash));
  if (options.json === true) printJson({ hash, removed: true });
  else print(`removed ${hash}`);
}

async function status(options: ClusterOptions): Promise<void> {
  const cluster = await withOpenClient(options, (client) => client.status());
  if (options.json === true) printJson(statusJson(cluster));
  else print(statusText(cluster));
}

/** With `--json`, a refusal that has a code of the wire is an answer too; it fails all the same. */
async function answered(
  options: ClusterOptions,
  hash: string | undefined,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (options.json === true && isGramlineError(error) && error.wireCode !== undefined) {
      printJson(refusalJson(error, hash));
    }
    throw error;
  }
}

function refusalJson(error: GramlineError, hash: string | undefined): object {
  return { code: error.wireCode, hash: hash ?? null, locations: [], revision: null };
}

function locationOf(replica: Replica): { readonly id: string; readonly address: string } {
  return { id: replica.nodeId, address: replica.address };
}

function formatReplicas(replicas: readonly Replica[]): string {
  return formatTable(
    REPLICA_COLUMNS,
    replicas.map((replica) => [replica.address, paint('dim', replica.nodeId)]),
  );
}

function statusJson(cluster: ClusterStatus): object {
  const { repair = null } = cluster;
  return {
    ...cluster,
    repair,
    nodes: cluster.nodes.map((node) => ({ ...node, state: STATE_NAMES[node.state] })),
  };
}

function statusText(cluster: ClusterStatus): string {
  const lines = cluster.coordinators.map(
    ({ address, leads, offload }) =>
      `coordinator ${address}${leads ? ', leads' : ''}, offload ${offload ? 'on' : 'off'}`,
  );
  if (!cluster.coordinators.some(({ leads }) => leads)) {
    lines.push(paint('red', 'no coordinator leads: nothing can be stored until one does'));
  }
  if (cluster.stale) {
    lines.push(paint('yellow', 'stale: the shared state is out of reach of the coordinator that answered'));
  }
  if (cluster.nodes.length === 0) lines.push('no nodes: start one with gramline node --directory DIR');
  else lines.push('', nodesTable(cluster), '');
  const { objects, bytes, revision } = cluster;
  lines.push(`${formatCount(objects, 'object')}, ${formatBytes(bytes)}, revision ${revision}`);
  lines.push(`repair: ${repairText(cluster)}`);
  return lines.join('\n');
}

/** What is lacking, what is done about it, and whether that is all. */
function repairText({ repair, nodes }: ClusterStatus): string {
  if (repair === undefined) return 'not known yet';
  const { missing, copying, surplus, scanning } = repair;
  const parts: string[] = [];
  if (missing > 0) {
    const lack = `${formatCount(missing, 'object')} ${missing === 1 ? 'lacks' : 'lack'} replicas`;
    parts.push(paint('yellow', lack));
  }
  if (copying > 0) parts.push(`${copying} being copied or checked`);
  if (surplus > 0) parts.push(`${formatCount(surplus, 'object')} with replicas to take away`);
  if (scanning) parts.push('looking for more');
  if (parts.length > 0) return parts.join(', ');
  // What a node held that failed a moment ago is copied only when it stays away.
  return nodes.every(({ state }) => state === NodeState.UP) ? 'nothing to do' : 'nothing to do now';
}

function nodesTable(cluster: ClusterStatus): string {
  const rows = cluster.nodes.map((node) => [
    node.name,
    STATE_NAMES[node.state],
    node.address,
    String(node.objects),
    formatBytes(node.freeBytes),
    formatBytes(node.quotaBytes),
    node.offload ? 'on' : 'off',
    node.id.slice(0, 12),
  ]);
  const [head, ...lines] = formatTable(NODE_COLUMNS, rows).split('\n');
  // Colour comes after the layout: its codes would count as width.
  const painted = lines.map((line, index) => {
    const { state, name } = cluster.nodes[index]!;
    const at = line.indexOf(STATE_NAMES[state], name.length);
    const end = at + STATE_NAMES[state].length;
    return line.slice(0, at) + paint(STATE_COLOURS[state], line.slice(at, end)) + line.slice(end);
  });
  return [paint('dim', head!), ...painted].join('\n');
}
