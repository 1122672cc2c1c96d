/** What is kept: objects as files, state in lmdb; hashing and compression beside them. */

export { lz4Compression } from './compression.ts';
export { GatheringWriter } from './gathering-writer.ts';
export { nodeHashing } from './hashing.ts';
export { type ObjectStoreOptions, openObjectStore } from './object-store.ts';
export { type EtcdStateOptions, openState } from './open-state.ts';
export { openStateStore, type StateStoreOptions } from './state-store.ts';
