/** The codec: what these bytes say. Layouts are fixed by `spec/`. */

export * from './cluster-messages.ts';
export * from './constants.ts';
export * from './frames.ts';
export * from './message-parts.ts';
export * from './messages.ts';
export * from './packets.ts';
export * from './reader.ts';
export * from './record.ts';
export * from './segment.ts';
export * from './where-is-many.ts';
export * from './writer.ts';
