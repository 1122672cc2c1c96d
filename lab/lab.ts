/**
 * A lab on one machine: hosts that are network namespaces, real kernels' stacks between them, and loss,
 * rates and offloads as they are wanted. `gramline lab`, the network tests and the benchmark use it.
 *
 * A lab is what `ip netns list` shows: its namespaces bear its name, each host's settings stand in the alias
 * of its device, and all devices lie inside the namespaces. So there is no other state to lose, and what
 * removes the namespaces has removed the lab.
 */

import { refused } from '../src/cli/failures.ts';
import { execute, type LabProgram, programTrouble } from './programs.ts';

/** What stands before the names of all namespaces of all labs. */
const PREFIX = 'gramline-lab-';
const NAMESPACE = /^gramline-lab-(.+)-(hub|h(\d+))$/;
const DEVICE = 'eth0';
/** Every lab has the same addresses: its namespaces see nothing but each other. */
const NETWORK = '10.231.77';
const NETWORK_BITS = 24;
const MULTICAST = '224.0.0.0/4';

export const LAB_HOSTS_MAX = 200;
/** IPv4 asks every host for it. */
export const LAB_MTU_MIN = 576;
/** What a veth device can carry. */
export const LAB_MTU_MAX = 65_535;
const LAB_NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/;
/** `numgen` counts in these. */
const LOSS_UNITS = 100_000;
/** A token bucket fills with the kernel's ticks, of 4 ms at worst: less cannot keep up the rate. */
const BURST_SECONDS = 0.004;
const BURST_BYTES_MIN = 32_768;
/** How long a full queue takes to drain, as in a switch with little memory. */
const QUEUE_SECONDS = 0.02;
/** What a network card with offloads does for the kernel; off, every packet is cut and glued singly. */
const DEVICE_OFFLOADS = ['tso', 'gso', 'gro', 'tx-udp-segmentation'];

export interface LabHost {
  /** From 1. */
  readonly number: number;
  readonly namespace: string;
  readonly device: string;
  readonly address: string;
  /** What stands before a command so that it runs there. */
  readonly prefix: readonly string[];
}

/** The speed of a cable, and the queue before it, by default 20 ms of it. */
export interface LabRate {
  readonly bitsPerSecond: number;
  readonly burstBytes?: number;
  readonly queueBytes?: number;
}

export interface LabOptions {
  /** Lower-case letters, digits and hyphens, at most 32. */
  readonly name: string;
  readonly hosts: number;
  /** `cable` joins two hosts directly, `switch` any number by a bridge, the default. */
  readonly joined?: 'cable' | 'switch';
  /** Default 1,500. */
  readonly mtuBytes?: number;
  /** Share of the packets that are dropped as they come to a host, in percent; default 0. */
  readonly lossPercent?: number;
  /** Of each cable and direction; unlimited by default. */
  readonly rate?: LabRate | undefined;
  /** Offloads of the devices; `on`, as the kernel has them, by default. */
  readonly offload?: 'on' | 'off';
}

/** A lab that stands. */
export interface Lab {
  readonly name: string;
  readonly hosts: readonly LabHost[];
  /** Removes what was made. Processes inside keep their namespace alive, without a name, until they end. */
  close(): void;
}

/** What `listLabs` finds. */
export interface StandingLab {
  readonly name: string;
  readonly hosts: readonly LabHost[];
  /** All of its namespaces, with that of the switch. */
  readonly namespaces: readonly string[];
}

/** Why such a lab can't be made here, or undefined. Without options: why none can. */
export function labTrouble(options: Partial<LabOptions> = {}): string | undefined {
  const programs: LabProgram[] = ['ip'];
  if ((options.lossPercent ?? 0) > 0) programs.push('nft');
  if (options.rate !== undefined) programs.push('tc');
  if (options.offload === 'off') programs.push('ethtool');
  return programTrouble(programs);
}

/** Why a lab can't have this name, or undefined. */
export function nameTrouble(name: string): string | undefined {
  return LAB_NAME.test(name)
    ? undefined
    : `'${name}' is no name of a lab: at most 32 lower-case letters, digits and hyphens between them`;
}

/**
 * Makes a lab. What has been made is removed again when something fails.
 *
 * @throws GRAMLINE_INVALID when a right or a program is missing, or a lab of that name stands
 */
export function openLab(options: LabOptions): Lab {
  const trouble = nameTrouble(options.name) ?? labTrouble(options);
  if (trouble !== undefined) throw refused(trouble);
  if (listLabs().some(({ name }) => name === options.name)) {
    throw refused(
      `the lab '${options.name}' stands already: remove it with gramline lab down --name ${options.name}`,
    );
  }
  const made: string[] = [];
  const makeNamespace = (part: string): string => {
    const namespace = `${PREFIX}${options.name}-${part}`;
    execute('ip', ['netns', 'add', namespace]);
    made.push(namespace);
    execute('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
    return namespace;
  };
  const close = (): void => removeNamespaces(made.splice(0).reverse());
  try {
    const hosts = Array.from({ length: options.hosts }, (_value, index) =>
      hostOf(makeNamespace(`h${index + 1}`), index + 1),
    );
    if (options.joined === 'cable') layCable(hosts, options);
    else plugIn(makeNamespace('hub'), hosts, options);
    for (const host of hosts) setUp(host, options);
    return { name: options.name, hosts, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The labs that stand on this machine, by name. Needs `ip`, and no right. */
export function listLabs(): readonly StandingLab[] {
  const labs = new Map<string, { readonly hosts: LabHost[]; readonly namespaces: string[] }>();
  for (const line of execute('ip', ['netns', 'list']).split('\n')) {
    const [namespace] = line.split(' ');
    const match = NAMESPACE.exec(namespace!);
    if (match === null) continue;
    const [, name, , number] = match;
    const lab = labs.get(name!) ?? { hosts: [], namespaces: [] };
    labs.set(name!, lab);
    lab.namespaces.push(namespace!);
    if (number !== undefined) lab.hosts.push(hostOf(namespace!, Number(number)));
  }
  return [...labs]
    .map(([name, { hosts, namespaces }]) => ({
      name,
      hosts: hosts.sort((left, right) => left.number - right.number),
      namespaces,
    }))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** Removes a lab that `listLabs` found. */
export function removeLab({ namespaces }: StandingLab): void {
  removeNamespaces(namespaces);
}

/** Removes as many as it can, and says then which one it could not. */
function removeNamespaces(namespaces: readonly string[]): void {
  let failure: unknown;
  for (const namespace of namespaces) {
    try {
      unlessGone(namespace, () => execute('ip', ['netns', 'del', namespace]), '');
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
}

/** What `work` says of a namespace; `gone` where somebody has removed it meanwhile. */
function unlessGone<Result>(namespace: string, work: () => Result, gone: Result): Result {
  try {
    return work();
  } catch (error) {
    const names = execute('ip', ['netns', 'list']).split('\n');
    if (names.some((line) => line.split(' ')[0] === namespace)) throw error;
    return gone;
  }
}

/** Ids of the processes that run in a lab. */
export function processesOf({ namespaces }: StandingLab): readonly number[] {
  return namespaces.flatMap((namespace) => {
    const list = (): string => execute('ip', ['netns', 'pids', namespace]);
    return unlessGone(namespace, list, '').split('\n').filter(Boolean).map(Number);
  });
}

/** What a host was set up with, in words; '' while it is being made or removed. */
export function settingsOf({ namespace, device }: LabHost): string {
  const show = (): string => execute('ip', ['-n', namespace, '-j', 'link', 'show']);
  const links = JSON.parse(unlessGone(namespace, show, '[]')) as readonly Link[];
  return links.find(({ ifname }) => ifname === device)?.ifalias ?? '';
}

interface Link {
  readonly ifname: string;
  readonly ifalias?: string;
}

/** Drops `percent` of the packets that come to a host, whatever they carry; 0 ends that. */
export function setLoss({ namespace, device }: LabHost, percent: number): void {
  const nft = (...words: string[]): string => within(namespace, 'nft', words);
  nft('add', 'table', 'inet', 'lab');
  nft('delete', 'table', 'inet', 'lab');
  const units = Math.round((percent / 100) * LOSS_UNITS);
  if (units === 0) return;
  nft('add', 'table', 'inet', 'lab');
  nft('add', 'chain', 'inet', 'lab', 'input', '{ type filter hook input priority 0; }');
  const chance = units >= LOSS_UNITS ? [] : ['numgen', 'random', 'mod', `${LOSS_UNITS}`, '<', `${units}`];
  nft('add', 'rule', 'inet', 'lab', 'input', 'iif', device, ...chance, 'counter', 'drop');
}

/** Switches the offloads of a host's device. */
export function setDeviceOffloads({ namespace, device }: LabHost, state: 'on' | 'off'): void {
  const features = DEVICE_OFFLOADS.flatMap((feature) => [feature, state]);
  within(namespace, 'ethtool', ['-K', device, ...features]);
}

/**
 * What new TCP connections of a host use from now on. By its route: the setting of a namespace takes
 * only what the kernel allows to everyone.
 */
export function setCongestionControl({ namespace, device, address }: LabHost, name: string): void {
  const network = [`${NETWORK}.0/${NETWORK_BITS}`, 'dev', device];
  const route = [...network, 'proto', 'kernel', 'scope', 'link', 'src', address, 'congctl', name];
  execute('ip', ['-n', namespace, 'route', 'replace', ...route]);
}

/** Packets that the queue before a host's device has dropped: those that it sent too fast. */
export function droppedBy({ namespace, device }: LabHost): number {
  const said = execute('tc', ['-n', namespace, '-s', 'qdisc', 'show', 'dev', device]);
  return Number(/dropped (\d+)/.exec(said)?.[1] ?? 0);
}

function hostOf(namespace: string, number: number): LabHost {
  return {
    number,
    namespace,
    device: DEVICE,
    address: `${NETWORK}.${number}`,
    prefix: ['ip', 'netns', 'exec', namespace],
  };
}

function layCable([left, right, ...rest]: readonly LabHost[], { mtuBytes }: LabOptions): void {
  if (left === undefined || right === undefined || rest.length > 0) {
    throw refused('a cable joins two hosts: take a switch for more');
  }
  addVeth(left.namespace, left.device, right.namespace, right.device, mtuBytes);
}

/** A bridge in a namespace of its own, with a port for each host. */
function plugIn(hub: string, hosts: readonly LabHost[], { mtuBytes, rate }: LabOptions): void {
  execute('ip', ['-n', hub, 'link', 'add', 'switch', 'type', 'bridge']);
  execute('ip', ['-n', hub, 'link', 'set', 'switch', 'up']);
  for (const { namespace, device, number } of hosts) {
    const port = `port${number}`;
    addVeth(namespace, device, hub, port, mtuBytes);
    execute('ip', ['-n', hub, 'link', 'set', port, 'master', 'switch', 'up']);
    if (rate !== undefined) limitRate(hub, port, rate);
  }
}

function addVeth(from: string, device: string, to: string, peer: string, mtuBytes = 1_500): void {
  const mtu = ['mtu', `${mtuBytes}`];
  const end = ['link', 'add', device, 'netns', from, ...mtu, 'type', 'veth'];
  execute('ip', [...end, 'peer', 'name', peer, 'netns', to, ...mtu]);
}

function setUp(host: LabHost, options: LabOptions): void {
  const { namespace, device, address } = host;
  execute('ip', ['-n', namespace, 'address', 'add', `${address}/${NETWORK_BITS}`, 'dev', device]);
  execute('ip', ['-n', namespace, 'link', 'set', device, 'up', 'alias', describe(options)]);
  execute('ip', ['-n', namespace, 'route', 'add', MULTICAST, 'dev', device]);
  if (options.rate !== undefined) limitRate(namespace, device, options.rate);
  if ((options.lossPercent ?? 0) > 0) setLoss(host, options.lossPercent!);
  if (options.offload === 'off') setDeviceOffloads(host, 'off');
}

/** A queue of a bounded length, which empties at the rate. */
function limitRate(
  namespace: string,
  device: string,
  { bitsPerSecond, burstBytes, queueBytes }: LabRate,
): void {
  const bytesPerSecond = bitsPerSecond / 8;
  const burst = burstBytes ?? Math.max(BURST_BYTES_MIN, Math.round(bytesPerSecond * BURST_SECONDS));
  const queue = queueBytes ?? Math.max(2 * burst, Math.round(bytesPerSecond * QUEUE_SECONDS));
  const bucket = ['rate', `${bitsPerSecond}bit`, 'burst', `${burst}`, 'limit', `${queue}`];
  execute('tc', ['-n', namespace, 'qdisc', 'add', 'dev', device, 'root', 'tbf', ...bucket]);
}

/** The settings in a line: it stays with the device. */
function describe({ mtuBytes = 1_500, lossPercent = 0, rate, offload = 'on' }: LabOptions): string {
  const speed = rate === undefined ? 'any rate' : formatRate(rate.bitsPerSecond);
  return `MTU ${mtuBytes}, ${lossPercent} % lost, ${speed}, offload ${offload}`;
}

/** `1 gbit/s`, `80 mbit/s`. */
export function formatRate(bitsPerSecond: number): string {
  for (const [unit, factor] of [
    ['gbit', 1e9],
    ['mbit', 1e6],
    ['kbit', 1e3],
  ] as const) {
    if (bitsPerSecond >= factor) return `${bitsPerSecond / factor} ${unit}/s`;
  }
  return `${bitsPerSecond} bit/s`;
}

function within(namespace: string, program: LabProgram, parameters: readonly string[]): string {
  return execute('ip', ['netns', 'exec', namespace, program, ...parameters]);
}
