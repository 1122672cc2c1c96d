/** Raw flows, memory to memory: sealed and opened as always, but without disks, catalogs and hashes. */

import { randomBytes } from 'node:crypto';
import type { IncomingQuery } from '../../src/nodes/ports.ts';
import { giveRecordBuffer } from '../../src/reliability/index.ts';
import {
  QueryKind,
  RECORD_BYTES_MAX,
  RecordEncoding,
  ResultCode,
  Role as WireRole,
} from '../../src/wire/index.ts';
import type { Role } from './index.ts';
import { openTransport } from './transport.ts';

export interface SendResult {
  readonly bytesPerSecond: number;
}

/** Takes in whatever comes and says how many bytes that was. */
export async function flowSink(options: {
  readonly secretHex: string;
  readonly host: string;
}): Promise<Role> {
  const transport = openTransport(options.secretHex);
  const listener = await transport.listen({
    address: `${options.host}:0`,
    role: WireRole.NODE,
    clusterId: new Uint8Array(randomBytes(16)),
    onConnection: (connection) => {
      connection.onQuery = (query) => void takeIn(query);
    },
  });
  return { ready: { address: listener.address, offload: transport.offload } };
}

async function takeIn(query: IncomingQuery): Promise<void> {
  const flow = query.receive();
  let bytes = 0;
  try {
    for (let record = await flow.next(); record !== undefined; record = await flow.next()) {
      bytes += record.payload.length;
      // As a node does that has written a record to its disk.
      giveRecordBuffer(record.payload);
    }
    const body = Buffer.alloc(8);
    body.writeBigUInt64BE(BigInt(bytes));
    query.reply(ResultCode.OK, new Uint8Array(body));
  } catch {
    // The sender went away, and says so itself.
  }
}

export async function flowSource(options: { readonly secretHex: string }): Promise<Role> {
  const transport = openTransport(options.secretHex);
  const payload = new Uint8Array(randomBytes(RECORD_BYTES_MAX));
  /** Sends for `seconds` over a new session; the clock stops when the sink has said what it got. */
  const send = async ({ address, seconds }: { address: string; seconds: number }): Promise<SendResult> => {
    const connection = await transport.connect({ address, role: WireRole.CLIENT });
    try {
      const start = performance.now();
      const call = connection.call(QueryKind.STORE, new Uint8Array(0), {
        sends: true,
        timeoutMicros: ((seconds + 60) * 1e6) as never,
      });
      const end = start + seconds * 1000;
      let sent = 0;
      for (let last = false; !last; ) {
        last = performance.now() > end;
        const plain = payload.subarray(0, call.send.recordBytes);
        const record = { encoding: RecordEncoding.STORED, plainBytes: plain.length, payload: plain };
        await call.send.write({ ...record, dataLeft: last ? 0 : -1 });
        sent += plain.length;
      }
      const { code, body } = await call.reply;
      const got = Number(Buffer.from(body).readBigUInt64BE());
      if (code !== ResultCode.OK || got !== sent) throw new Error(`sent ${sent} bytes, and ${got} came`);
      return { bytesPerSecond: sent / ((performance.now() - start) / 1000) };
    } finally {
      await connection.close();
    }
  };
  return { ready: { offload: transport.offload }, operations: { send } };
}
