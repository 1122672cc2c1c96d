/**
 * Gramline: place, find, store and fetch data between the machines of one LAN, over encrypted
 * UDP, with one shared secret.
 */

export { GramlineError, type GramlineErrorCode, isGramlineError } from './base/errors.ts';
export type {
  Client,
  ClusterRepair,
  ClusterStatus,
  GetOptions,
  HeldLock,
  LockOptions,
  ObjectPlaces,
  ObjectSink,
  ObjectSource,
  Progress,
  PutOptions,
  PutResult,
  Replica,
  ReservedPlaces,
  SessionData,
  SessionOptions,
  UserSession,
  WhereIsOutcome,
} from './nodes/client.ts';
export type { Coordinator } from './nodes/coordinator.ts';
export type { StorageNode } from './nodes/node.ts';
export type { Log, LogFields, Rights, TransferCounts } from './nodes/ports.ts';
export * from './open.ts';
export type { EtcdStateOptions } from './store/open-state.ts';
