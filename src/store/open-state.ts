/** Opens the state where it is said to be: the choice between the adapters, which are loaded when they are chosen. */

import type { Log, StateStore } from '../nodes/ports.ts';
import type { EtcdAccess } from './etcd-client.ts';
import { parseState } from './state-choice.ts';
import { withRevisionBase } from './state-moving.ts';

/** What only a state in etcd has a use for. */
export interface EtcdStateOptions extends EtcdAccess {
  /** Milliseconds to wait for an etcd that does not answer at the start; default 0. */
  readonly waitMillis?: number | undefined;
  /** Told in a sentence, once, that etcd does not answer and is waited for. */
  readonly onWaiting?: ((sentence: string) => void) | undefined;
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined;
}

export interface OpenStateOptions {
  /** `lmdb:DIRECTORY`, or `etcd:URL,URL,...`. */
  readonly state: string;
  /** The state of any other cluster is refused; 16 bytes. */
  readonly clusterId?: Uint8Array | undefined;
  /** `count` unpredictable bytes, for the id of a new cluster. */
  readonly entropy: (count: number) => Uint8Array;
  readonly etcd?: EtcdStateOptions | undefined;
  readonly log?: Log | undefined;
}

/**
 * @throws GRAMLINE_INVALID when the text is no state, or the state is another cluster's or a newer Gramline's, and
 *   what the adapters throw
 */
export async function openState(options: OpenStateOptions): Promise<StateStore> {
  const store = await openRawState(options);
  try {
    return withRevisionBase(store);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** The same, also where a state is only half there: for whoever moves one. */
export async function openRawState({ state, etcd, log, ...common }: OpenStateOptions): Promise<StateStore> {
  const choice = parseState(state);
  if (choice.kind === 'lmdb') {
    const { openStateStore } = await import('./state-store.ts');
    return openStateStore({ ...common, directory: choice.directory });
  }
  const { openEtcdStateStore } = await import('./etcd-state-store.ts');
  return openEtcdStateStore({ ...common, ...etcd, endpoints: choice.endpoints, log });
}
