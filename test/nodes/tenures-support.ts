/** The leader's part of locks and user sessions on a state in memory and virtual time. */

import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { micros } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { IncomingQuery, Log, LogFields, Reply, StateStore } from '../../src/nodes/ports.ts';

const STEPS_MAX = 1_000_000;

export class Bench {
  readonly clock = new VirtualClock();
  readonly state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
  readonly warnings: { readonly message: string; readonly fields: LogFields | undefined }[] = [];
  readonly events: string[] = [];
  /** Done in place of the next commits, one each. */
  readonly instead: ((commit: () => ReturnType<StateStore['commit']>) => ReturnType<StateStore['commit']>)[] =
    [];
  commits = 0;

  get options() {
    const log: Log = {
      info: (message) => void this.events.push(message),
      warn: (message, fields) => void this.warnings.push({ message, fields }),
      error: (message, fields) => void this.warnings.push({ message, fields }),
    };
    const commit: StateStore['commit'] = (...change) => {
      this.commits += 1;
      const really = () => this.state.commit(...change);
      const instead = this.instead.shift();
      return instead === undefined ? really() : instead(really);
    };
    return { clock: this.clock, suite: nodeSuite, state: this.state, writer: { commit }, log };
  }

  /** Holds the next commit up until what is returned is called. */
  hold(): () => void {
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    this.instead.push(async (commit) => {
      await gate;
      return commit();
    });
    return () => go();
  }

  async pass(spanMicros: number): Promise<void> {
    await this.clock.run({ untilMicros: micros(this.clock.now() + spanMicros), stepsMax: STEPS_MAX });
  }
}

/** Asks by `handle`, which answers a query at some time. */
export function ask(
  handle: (query: IncomingQuery) => Promise<void>,
  kind: number,
  body: Uint8Array,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const noFlow = (): never => {
      throw new Error('there is no flow');
    };
    const reply = (code: number, answer = new Uint8Array(0)): void => resolve({ code, body: answer });
    handle({ kind, body, reply, send: noFlow, receive: noFlow }).catch(reject);
  });
}

/** A state that did not answer. */
export function noAnswer(): GramlineError {
  return new GramlineError('GRAMLINE_IO', 'no answer', { retryable: true });
}
