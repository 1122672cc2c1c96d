import { describe, expect, it } from 'vitest';
import type { IncomingBatch, LibC } from '../../src/native/index.ts';
import { Inbox, InboxMemory, WAITING_READ_MAX } from '../../src/udp/inbox.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** An inbox over a kernel that holds as many datagrams as the test says. */
function open() {
  const state = {
    inKernel: 0,
    isClosed: false,
    closeAt: -1,
    calls: 0,
    handedIn: 0,
    lengths: [] as number[],
    /** The first byte of each that was handed in. */
    marks: [] as number[],
    /** Bytes of the datagram that the kernel hands out next, and so many in all. */
    sizeOf: (_number: number): number => 1_000,
    received: 0,
  };
  const libc = {
    address: () => 0n,
    receiveMessages(_fd: number, batch: IncomingBatch): number {
      state.calls += 1;
      const count = Math.min(state.inKernel, batch.size);
      state.inKernel -= count;
      const view = new DataView(batch.headers.buffer);
      for (let index = 0; index < count; index++) {
        const bytes = state.sizeOf(state.received);
        view.setUint32(index * 64 + 56, bytes, true);
        if (bytes > 0) batch.borrow(index, bytes)[0] = state.received & 0xff;
        state.received += 1;
      }
      return count === 0 ? -1 : count;
    },
  } as unknown as LibC;
  const memory = new InboxMemory(libc);
  const inbox = new Inbox(memory, 3, {
    onDatagram: (bytes) => {
      state.handedIn += 1;
      state.lengths.push(bytes.length);
      state.marks.push(bytes[0] ?? -1);
      if (state.handedIn === state.closeAt) state.isClosed = true;
    },
    onDrained: () => undefined,
    onFailure: () => undefined,
    get isClosed() {
      return state.isClosed;
    },
  });
  return { inbox, memory, state };
}

describe('what waits at a socket', () => {
  it('is handed in to the last, over as many turns as it takes', async () => {
    const { inbox, state } = open();
    state.inKernel = 700;
    inbox.take(new Uint8Array(1_000));
    for (let turns = 0; turns < 20; turns++) await turn();
    expect(state.handedIn).toBe(701);
    expect(inbox.isIdle).toBe(true);
  });

  it('keeps its order and its bytes, small ones gathered and large ones not', async () => {
    const { inbox, memory, state } = open();
    const sizes = [1_472, 62_000, 8_192, 8_193, 40, 65_000];
    state.sizeOf = (number) => sizes[number % sizes.length]!;
    state.inKernel = 200;
    inbox.take(new Uint8Array(1_000));
    for (let turns = 0; turns < 200; turns++) await turn();
    expect(state.lengths.slice(1)).toEqual(Array.from({ length: 200 }, (_, number) => state.sizeOf(number)));
    expect(state.marks.slice(1)).toEqual(Array.from({ length: 200 }, (_, number) => number));
    const buffers = Array.from({ length: 300 }, () => memory.take());
    expect(new Set(buffers).size, 'each buffer came back once').toBe(300);
  });

  it('gives each buffer back once when the socket closes in the middle of a slice', async () => {
    const { inbox, memory, state } = open();
    state.inKernel = 40;
    state.closeAt = 5;
    inbox.take(new Uint8Array(1_000));
    await turn();
    const buffers = Array.from({ length: 64 }, () => memory.take());
    expect(new Set(buffers).size).toBe(64);
    expect(state.handedIn).toBe(5);
  });

  it('asks the kernel nothing about a socket that closed with its first datagram', async () => {
    const { inbox, state } = open();
    state.inKernel = 40;
    state.closeAt = 1;
    inbox.take(new Uint8Array(1_000));
    await turn();
    expect(state.calls).toBe(0);
  });

  it('is no more than a maximum, however much the event loop reads for us', async () => {
    const { inbox, state } = open();
    state.inKernel = 1;
    inbox.take(new Uint8Array(60_000));
    for (let count = 0; count < 3 * WAITING_READ_MAX; count++) inbox.take(new Uint8Array(1_000));
    for (let turns = 0; turns < 50; turns++) await turn();
    expect(inbox.isIdle).toBe(true);
    expect(state.handedIn).toBeGreaterThan(WAITING_READ_MAX);
    expect(state.handedIn).toBeLessThanOrEqual(WAITING_READ_MAX + 2);
  });
});
