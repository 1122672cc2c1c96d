/**
 * What the machine's interfaces carry. Without offload we can't set the don't-fragment bit, and the
 * kernel would cut a probe that is larger than the interface's MTU, so we look before we send [MTU-7].
 */

import { readFileSync } from 'node:fs';
import { BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { formatAddress, tryParseAddress } from '../base/address.ts';

/** IP and UDP headers. */
const IPV4_OVERHEAD_BYTES = 28;
const IPV6_OVERHEAD_BYTES = 48;

/** Hosts whose answer is kept: interfaces hardly change, and asking costs as much as a handshake. */
const ANSWERS_MAX = 4_096;
const answers = new Map<string, number | undefined>();

/** Largest UDP payload that leaves for `host` uncut, or undefined where the system does not say. */
export function payloadBytesTo(host: string): number | undefined {
  if (answers.has(host)) return answers.get(host);
  if (answers.size >= ANSWERS_MAX) answers.clear();
  const bytes = lookUp(host);
  answers.set(host, bytes);
  return bytes;
}

function lookUp(host: string): number | undefined {
  const name = interfaceTo(host);
  const mtu = name === undefined ? undefined : mtuOf(name);
  if (mtu === undefined) return undefined;
  return mtu - (isIPv6(host) ? IPV6_OVERHEAD_BYTES : IPV4_OVERHEAD_BYTES);
}

/**
 * Where others reach what is bound to `address` (`host:port`): the same, or, where it is bound to all addresses
 * of this machine, the first one that is not only for itself.
 */
export function reachableAddress(address: string): string {
  const parsed = tryParseAddress(address);
  if (parsed === undefined || (parsed.host !== '0.0.0.0' && parsed.host !== '::')) return address;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outward = all.find(
    ({ internal, family }) => !internal && (family === 'IPv4' || parsed.host === '::'),
  );
  return formatAddress(outward?.address ?? '127.0.0.1', parsed.port);
}

/** The interface whose network `host` is in; an address of our own is reached through loopback. */
function interfaceTo(host: string): string | undefined {
  const family = isIPv6(host) ? 'IPv6' : 'IPv4';
  let found: string | undefined;
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { address, cidr, family: itsFamily } of addresses ?? []) {
      if (itsFamily !== family || cidr === null) continue;
      if (address === host) return loopbackName();
      const [network, prefix] = cidr.split('/');
      const block = new BlockList();
      block.addSubnet(network!, Number(prefix), family === 'IPv6' ? 'ipv6' : 'ipv4');
      if (block.check(host, family === 'IPv6' ? 'ipv6' : 'ipv4')) found = name;
    }
  }
  return found;
}

function loopbackName(): string | undefined {
  const entries = Object.entries(networkInterfaces());
  return entries.find(([, addresses]) => addresses?.some(({ internal }) => internal))?.[0];
}

function mtuOf(name: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'), 10) || undefined;
  } catch {
    // Not Linux, or a system that hides it: the caller takes what every Ethernet carries.
    return undefined;
  }
}
