/** How is this peer? Sessions, their handshake, queries and flows: pure state machines. */

export * from './events.ts';
export * from './front.ts';
export * from './initiator.ts';
export * from './limits.ts';
export * from './parameters.ts';
export * from './session.ts';
