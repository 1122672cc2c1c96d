/**
 * The DEFS text protocol, byte for byte as the seed has it, in front of a coordinator:
 *
 *   `0 SIZE`, `0 HASH SIZE`   where to put SIZE KiB  -->  `0 HOST`, `1` (conflict), `2` (no space)
 *   `1 HASH`                  where is it            -->  `0 HOST`, `3` (not found)
 *
 * The table of the seed is the norm [DEFS-1]; its prose answers `1` for not found, which is a
 * mistake. HOST is a node's address without its port. WHERE_TO reserves the space on one node for
 * one lease, as it does in the binary protocol; a request that is sent again reserves again.
 *
 * Nothing here is encrypted or authenticated: whoever reaches the port can fill all space with
 * reservations, and a reply may be larger than its request. Hence it is off unless asked for, and
 * belongs on loopback. Left out: everything but these two queries, for which DEFS has no text.
 */

import { formatAddress, parseAddress, tryParseAddress } from '../base/address.ts';
import { fromHex, utf8 } from '../base/bytes.ts';
import { KIB } from '../base/units.ts';
import type { Coordinator } from '../nodes/coordinator.ts';
import type { Entropy, Log } from '../nodes/ports.ts';
import type { DatagramHost, DatagramSocket } from '../udp/host.ts';
import { type Location, ResultCode, TOKEN_BYTES } from '../wire/index.ts';

/** Longest request: two names of the longest kind and a size fit many times. */
export const REQUEST_BYTES_MAX = 256;
/** Replies that the kernel has not taken yet; one more is dropped, as the network might have. */
export const REPLIES_UNSENT_MAX = 1_024;

/** What a length field of the catalog can say: nothing larger can be placed. */
const OBJECT_BYTES_MAX = 2 ** 48 - 1;
/** [TXT-1] A line end is tolerated: people try this with netcat. */
const REQUEST_PATTERN = /^(?:0 (?:([0-9a-zA-Z]{1,64}) )?([0-9]+)|1 ([0-9a-zA-Z]{1,64}))\r?\n?$/;
const HASH_PATTERN = /^[0-9a-fA-F]{64}$/;

export interface DefsTextOptions {
  /** Without receive offload: glued together, text datagrams could not be told apart. */
  readonly host: DatagramHost;
  readonly entropy: Entropy;
  readonly coordinator: Pick<Coordinator, 'whereTo' | 'whereIs'>;
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string;
  /** Names to IP addresses. */
  readonly resolve: (host: string) => Promise<string>;
  readonly log: Log;
}

/** Datagrams by fate. */
export interface DefsTextCounts {
  /** All that arrived. */
  readonly requests: number;
  readonly replies: number;
  /** No request of the protocol: not answered. */
  readonly malformed: number;
  /** Not answered because {@link REPLIES_UNSENT_MAX} replies waited. */
  readonly dropped: number;
}

export type DefsTextRequest =
  | { readonly kind: 'where-to'; readonly name: string | undefined; readonly sizeKib: number }
  | { readonly kind: 'where-is'; readonly name: string };

/** The request in a datagram, or undefined when it is none. Never throws, whatever the bytes. */
export function parseDefsTextRequest(bytes: Uint8Array): DefsTextRequest | undefined {
  if (bytes.length > REQUEST_BYTES_MAX) return undefined;
  // One character a byte: what is not ASCII matches nothing.
  const match = REQUEST_PATTERN.exec(String.fromCharCode(...bytes));
  if (match === null) return undefined;
  const [, name, size, sought] = match;
  if (sought !== undefined) return { kind: 'where-is', name: sought };
  return { kind: 'where-to', name, sizeKib: Number(size) };
}

export class DefsTextGateway {
  readonly #options: DefsTextOptions;
  readonly #counts = { requests: 0, replies: 0, malformed: 0, dropped: 0 };
  #socket: DatagramSocket | undefined;
  #unsent = 0;

  private constructor(options: DefsTextOptions) {
    this.#options = options;
  }

  /** Opens the port. Rejects with GRAMLINE_IN_USE when it is taken. */
  static async open(options: DefsTextOptions): Promise<DefsTextGateway> {
    const { host, port } = parseAddress(options.listen);
    const gateway = new DefsTextGateway(options);
    gateway.#socket = await options.host.open({
      host: await options.resolve(host),
      port,
      onDatagram: (bytes, fromHost, fromPort) => gateway.#onDatagram(bytes, fromHost, fromPort),
      onRefused: () => undefined,
    });
    if (!isLoopback(gateway.#socket.host)) {
      options.log.warn('the DEFS text protocol answers anyone who reaches it, unencrypted', {
        address: gateway.address,
      });
    }
    return gateway;
  }

  /** `host:port` as bound. */
  get address(): string {
    return formatAddress(this.#socket!.host, this.#socket!.port);
  }

  get counts(): DefsTextCounts {
    return { ...this.#counts };
  }

  /** Resolves when the port is free. */
  async close(): Promise<void> {
    await this.#socket?.close();
  }

  #onDatagram(bytes: Uint8Array, fromHost: string, fromPort: number): void {
    this.#counts.requests += 1;
    const request = parseDefsTextRequest(bytes);
    if (request === undefined) {
      // [TXT-2] A stranger's bytes that say nothing get no answer.
      this.#counts.malformed += 1;
      return;
    }
    if (this.#unsent >= REPLIES_UNSENT_MAX) {
      this.#counts.dropped += 1;
      return;
    }
    const reply =
      request.kind === 'where-is'
        ? this.#whereIs(request.name)
        : this.#whereTo(request, `${fromHost}:${fromPort}`);
    this.#send(reply, fromHost, fromPort);
  }

  #whereIs(name: string): string {
    const hash = hashOf(name);
    // [TXT-3] A name that is no SHA-256 names nothing here.
    const location = hash === undefined ? undefined : this.#options.coordinator.whereIs(hash)?.locations[0];
    return location === undefined ? `${ResultCode.NOT_FOUND}` : found(location);
  }

  #whereTo(request: DefsTextRequest & { kind: 'where-to' }, owner: string): string {
    const { coordinator, entropy } = this.#options;
    const bytes = request.sizeKib * KIB;
    if (bytes > OBJECT_BYTES_MAX) return `${ResultCode.NO_SPACE}`;
    const hash = request.name === undefined ? undefined : hashOf(request.name);
    const placement = coordinator.whereTo(
      { token: entropy.bytes(TOKEN_BYTES), bytes, replicas: 1, hash },
      owner,
    );
    switch (placement.code) {
      case ResultCode.OK:
        return found(placement.locations[0]!);
      case ResultCode.CONFLICT:
        return `${ResultCode.CONFLICT}`;
      default:
        // [TXT-4] The seed has no word for busy: no more reservations can be held, so there is no space.
        return `${ResultCode.NO_SPACE}`;
    }
  }

  #send(reply: string, host: string, port: number): void {
    const bytes = utf8(reply);
    this.#counts.replies += 1;
    this.#unsent += 1;
    this.#socket!.send(bytes, bytes.length, bytes.length, { host, port }, () => {
      this.#unsent -= 1;
    });
  }
}

function found(location: Location): string {
  return `${ResultCode.OK} ${tryParseAddress(location.address)?.host ?? location.address}`;
}

function hashOf(name: string): Uint8Array | undefined {
  return HASH_PATTERN.test(name) ? fromHex(name) : undefined;
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}
