/**
 * A lab on one machine: network namespaces with real kernels between them, and loss where it is
 * wanted. Everything in it ends with its scope.
 */

import { execFileSync } from 'node:child_process';
import { sysctl } from './environment.ts';
import { findProgram, type Place } from './processes.ts';
import type { Scope } from './scope.ts';

const COMMAND_MILLIS_MAX = 10_000;
const NETWORK = '10.231.77';
/** What a network card with offloads does for the kernel; off, every packet is cut and glued singly. */
const DEVICE_OFFLOADS = ['tso', 'gso', 'gro', 'tx-udp-segmentation'];
let labs = 0;

/** Why there can be no lab here, or undefined. */
export function labTrouble(): string | undefined {
  if (process.getuid?.() !== 0) return 'a lab needs root';
  const missing = ['ip', 'nft', 'ethtool'].find((name) => findProgram(name) === undefined);
  return missing === undefined ? undefined : `${missing} is not installed`;
}

export interface Host extends Place {
  readonly namespace: string;
  readonly device: string;
}

/** The congestion controls that TCP has here. */
export function congestionControls(): readonly string[] {
  return (sysctl('net/ipv4/tcp_available_congestion_control') ?? '').split(' ');
}

/** Two hosts with one cable between them, MTU 1,500. */
export function openPair(scope: Scope): readonly [Host, Host] {
  const [left, right] = [makeHost(scope, 1), makeHost(scope, 2)];
  run('ip', [
    'link',
    'add',
    left.device,
    'netns',
    left.namespace,
    'type',
    'veth',
    'peer',
    'name',
    right.device,
    'netns',
    right.namespace,
  ]);
  for (const host of [left, right]) bringUp(host);
  return [left, right];
}

/** Hosts around one switch, MTU 1,500. */
export function openStar(scope: Scope, count: number): readonly Host[] {
  const hub = makeNamespace(scope, 'hub');
  within(hub, 'ip', ['link', 'add', 'switch', 'type', 'bridge']);
  within(hub, 'ip', ['link', 'set', 'switch', 'up']);
  return Array.from({ length: count }, (_value, index) => {
    const host = makeHost(scope, index + 1);
    const port = `port${index + 1}`;
    run('ip', [
      'link',
      'add',
      host.device,
      'netns',
      host.namespace,
      'type',
      'veth',
      'peer',
      'name',
      port,
      'netns',
      hub,
    ]);
    within(hub, 'ip', ['link', 'set', port, 'master', 'switch', 'up']);
    bringUp(host);
    return host;
  });
}

/** Switches the offloads of a host's device. */
export function setDeviceOffloads(host: Host, state: 'on' | 'off'): void {
  const features = DEVICE_OFFLOADS.flatMap((feature) => [feature, state]);
  within(host.namespace, 'ethtool', ['-K', host.device, ...features]);
}

/** Drops `percent` of the packets that come to a host, whatever they carry: data or acknowledgements. */
export function setLoss(host: Host, percent: number): void {
  const nft = (...words: string[]): void => within(host.namespace, 'nft', words);
  nft('add', 'table', 'inet', 'lab');
  nft('delete', 'table', 'inet', 'lab');
  if (percent === 0) return;
  nft('add', 'table', 'inet', 'lab');
  nft('add', 'chain', 'inet', 'lab', 'input', '{ type filter hook input priority 0; }');
  nft(
    'add',
    'rule',
    'inet',
    'lab',
    'input',
    'iif',
    host.device,
    'numgen',
    'random',
    'mod',
    '100',
    '<',
    String(percent),
    'drop',
  );
}

/**
 * What new TCP connections of a host use from now on. By its route: the setting of a namespace takes
 * only what the kernel allows to everyone.
 */
export function setCongestionControl({ namespace, device, host }: Host, name: string): void {
  const route = [`${NETWORK}.0/24`, 'dev', device, 'proto', 'kernel', 'scope', 'link', 'src', host];
  within(namespace, 'ip', ['route', 'replace', ...route, 'congctl', name]);
}

function makeHost(scope: Scope, number: number): Host {
  const namespace = makeNamespace(scope, `h${number}`);
  return {
    namespace,
    device: 'eth0',
    host: `${NETWORK}.${number}`,
    prefix: ['ip', 'netns', 'exec', namespace],
  };
}

function makeNamespace(scope: Scope, name: string): string {
  labs += 1;
  const namespace = `gramline-bench-${process.pid}-${labs}-${name}`;
  run('ip', ['netns', 'add', namespace]);
  // Whoever is interrupted can't wait: in any case it is gone when the process is.
  const remove = scope.inEmergency(() => run('ip', ['netns', 'del', namespace]));
  scope.defer(() => {
    remove();
    run('ip', ['netns', 'del', namespace]);
  });
  within(namespace, 'ip', ['link', 'set', 'lo', 'up']);
  return namespace;
}

function bringUp({ namespace, device, host }: Host): void {
  within(namespace, 'ip', ['address', 'add', `${host}/24`, 'dev', device]);
  within(namespace, 'ip', ['link', 'set', device, 'mtu', '1500', 'up']);
}

function within(namespace: string, command: string, parameters: readonly string[]): void {
  run('ip', ['netns', 'exec', namespace, command, ...parameters]);
}

function run(command: string, parameters: readonly string[]): void {
  execFileSync(findProgram(command) ?? command, parameters, {
    timeout: COMMAND_MILLIS_MAX,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
}
