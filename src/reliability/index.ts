/** Did it arrive? Pure state machines of acknowledgement, loss recovery, congestion and reassembly. */

export * from './acks.ts';
export * from './congestion.ts';
export * from './credit.ts';
export * from './lan-cubic.ts';
export * from './limits.ts';
export * from './mtu.ts';
export * from './ranges.ts';
export * from './reassembly.ts';
export * from './record-buffers.ts';
export * from './recovery.ts';
export * from './rtt.ts';
export * from './sent-packets.ts';
export * from './timers.ts';
