/** Finds out whether the peer is there and knows the secret, before any case is run. */

import { lookup } from 'node:dns/promises';
import { parseAddress } from '../src/base/address.ts';
import { refused } from '../src/cli/failures.ts';
import { bestSuite } from '../src/crypto/best-suite.ts';
import { deriveClusterKeys } from '../src/crypto/index.ts';
import { PacketType } from '../src/wire/index.ts';
import type { Target } from './case.ts';
import { CaseFailure } from './expectations.ts';
import { RawInitiator } from './handshake.ts';
import { UdpPort } from './udp-port.ts';

/** Tries before a peer counts as unreachable: some six seconds. */
const TRIES_MAX = 5;

export interface TargetOptions {
  /** `host:port` of the front port. */
  readonly address: string;
  readonly secret: Uint8Array;
  readonly admissionSecret?: Uint8Array;
  /** A second cluster secret of the peer, which carries the right to read and no other. */
  readonly readSecret?: Uint8Array;
  readonly role: 'coordinator' | 'node';
}

/** The peer at an address; rejects with one sentence when it does not answer. */
export async function findTarget(options: TargetOptions): Promise<Target> {
  const suite = bestSuite();
  const { host, port } = parseAddress(options.address);
  const target: Target = {
    suite,
    keys: deriveClusterKeys(suite, options.secret),
    front: { host: await resolved(host), port },
    role: options.role,
    admissionSecret: options.admissionSecret ?? options.secret,
    ...(options.readSecret === undefined ? {} : { readKeys: deriveClusterKeys(suite, options.readSecret) }),
  };
  const own = await UdpPort.open(target.front.host);
  try {
    const initiator = new RawInitiator(target, own, target.front);
    const answer = await initiator.ask(initiator.hello(), PacketType.COOKIE, TRIES_MAX);
    if (answer?.type === PacketType.COOKIE) return target;
  } catch (error) {
    if (!(error instanceof CaseFailure)) throw error;
    throw refused(`${options.address} answered a HELLO wrongly: ${error.message}`);
  } finally {
    own.close();
  }
  throw refused(`nothing answered at ${options.address}: it does not run, or the secret differs`);
}

async function resolved(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw refused(`the name ${host} does not resolve: check it`, error);
  }
}
