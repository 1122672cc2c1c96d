/** What does the operating system offer? Sockets, the driver of sessions, clock and entropy. */

export * from './clock.ts';
export * from './connection.ts';
export * from './host.ts';
export { reachableAddress } from './interfaces.ts';
export * from './machine-host.ts';
export * from './sockets.ts';
export * from './transport.ts';
