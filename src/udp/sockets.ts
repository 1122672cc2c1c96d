/**
 * The datagram host of this machine, on `dgram-as-promised` for what happens rarely (bind, close)
 * and on its raw socket for data.
 *
 * Traps of the package that this file steps around: its `recv` and iterator lose packets under
 * load (we listen to `message`), an unheard `error` rejects the next unrelated call (we listen
 * from the start), a second `close` rejects (we close once), `getSendBufferSize` recurses (unused).
 */

import { isIPv6 } from 'node:net';
import { DgramAsPromised } from 'dgram-as-promised';
import { GramlineError } from '../base/errors.ts';
import { MIB } from '../base/units.ts';
import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from './host.ts';
import { payloadBytesTo } from './interfaces.ts';

/** What is asked of the kernel; it grants at most `net.core.rmem_max`. */
const SOCKET_BUFFER_BYTES = 4 * MIB;
/**
 * Linux charges a datagram's whole buffer against the socket, and reports twice what it granted:
 * half of the reported size is what may safely be under way.
 */
const USABLE_SHARE = 0.5;

/** Sends and receives one datagram a call: the path without offload. */
export const plainHost: DatagramHost = {
  offload: false,
  payloadBytesTo,
  open: openPlain,
};

async function openPlain(options: DatagramSocketOptions): Promise<DatagramSocket> {
  const wrapper = DgramAsPromised.createSocket({ type: isIPv6(options.host) ? 'udp6' : 'udp4' });
  const { socket } = wrapper;
  let connected = false;
  let closing: Promise<void> | undefined;
  socket.on('error', (error: NodeJS.ErrnoException) => {
    // [SES-13] A refusal is a fact about the peer, not a failure of ours.
    if (connected && error.code === 'ECONNREFUSED') options.onRefused();
  });
  try {
    await wrapper.bind({ address: options.host, port: options.port, exclusive: true });
  } catch (error) {
    throw bindError((error as NodeJS.ErrnoException).code, options, error);
  }
  socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
  socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
  socket.on('message', (bytes, from) => options.onDatagram(bytes, from.address, from.port));
  const { address, port } = socket.address();
  return {
    host: address,
    port,
    receiveBufferBytes: Math.floor(socket.getRecvBufferSize() * USABLE_SHARE),
    connect: (host, peerPort) =>
      new Promise((resolve, reject) => {
        socket.connect(peerPort, host, (error?: Error) => {
          if (error !== undefined && error !== null) reject(error);
          else {
            connected = true;
            resolve();
          }
        });
      }),
    send(buffer, bytes, segmentBytes, to, onSent) {
      if (closing !== undefined) {
        onSent?.();
        return;
      }
      let left = Math.ceil(bytes / segmentBytes);
      const done = (error: Error | null): void => {
        // A failed send is a lost datagram; a refusal also says something about the peer.
        if (error !== null && (error as NodeJS.ErrnoException).code === 'ECONNREFUSED') options.onRefused();
        left -= 1;
        if (left === 0) onSent?.();
      };
      for (let at = 0; at < bytes; at += segmentBytes) {
        const end = Math.min(at + segmentBytes, bytes);
        if (to === undefined) socket.send(buffer, at, end - at, done);
        else socket.send(buffer, at, end - at, to.port, to.host, done);
      }
    },
    close() {
      closing ??= wrapper.close();
      return closing;
    },
  };
}

/** Why a port could not be had, by the system's name of the failure. */
export function bindError(
  code: string | undefined,
  options: DatagramSocketOptions,
  cause?: unknown,
): GramlineError {
  const at = `UDP port ${options.port} on ${options.host}`;
  if (code === 'EADDRINUSE') {
    return new GramlineError(
      'GRAMLINE_IN_USE',
      `${at} is taken: stop what uses it or choose another with --listen`,
      { cause },
    );
  }
  if (code === 'EACCES') {
    return new GramlineError('GRAMLINE_INVALID', `${at} needs more rights: choose one above 1023`, { cause });
  }
  return cannotOpen(options, code ?? String(cause), cause);
}

export function cannotOpen(options: DatagramSocketOptions, reason: string, cause?: unknown): GramlineError {
  return new GramlineError(
    'GRAMLINE_INVALID',
    `UDP port ${options.port} on ${options.host} cannot be opened (${reason})`,
    { cause },
  );
}
