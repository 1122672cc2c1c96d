/** New sessions: many after another, or many that stay. */

import { isGramlineError } from '../../src/index.ts';
import type { Connection } from '../../src/nodes/ports.ts';
import { Role as WireRole } from '../../src/wire/index.ts';
import type { Role } from './index.ts';
import { sampleRate } from './sampling.ts';
import { openTransport } from './transport.ts';

interface Options {
  readonly secretHex: string;
  /** Front port of the coordinator. */
  readonly address: string;
}

export interface Alive {
  readonly count: number;
  readonly ended: readonly string[];
  readonly failures: number;
}

const OPENING_AT_ONCE = 8;
/** Tries of one session: with thousands open, both ends are busy with keeping them alive. */
const TRIES_MAX = 3;

export async function handshakes({ secretHex, address }: Options): Promise<Role> {
  const transport = openTransport(secretHex);
  const handshake = async (): Promise<void> => {
    const connection = await transport.connect({ address, role: WireRole.CLIENT });
    void connection.close();
  };
  return {
    ready: {},
    operations: {
      rate: (sampling: { seconds: number; window: number }): Promise<number> =>
        sampleRate(sampling, handshake),
    },
  };
}

/** Opens sessions with a coordinator and keeps them. */
export async function sessions({ secretHex, address }: Options): Promise<Role> {
  const transport = openTransport(secretHex);
  const open: Connection[] = [];
  let failures = 0;
  const openOne = async (): Promise<Connection> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await transport.connect({ address, role: WireRole.CLIENT });
      } catch (error) {
        if (!isGramlineError(error) || !error.retryable || attempt === TRIES_MAX) throw error;
        failures += 1;
      }
    }
  };
  return {
    ready: {},
    operations: {
      /** Opens sessions until there are `count`. */
      openTo: async ({ count }: { count: number }): Promise<void> => {
        let started = open.length;
        const opener = async (): Promise<void> => {
          while (started < count) {
            started += 1;
            open.push(await openOne());
          }
        };
        await Promise.all(Array.from({ length: OPENING_AT_ONCE }, opener));
      },
      /** How many are still open, why the others are not, and how many tries failed. */
      alive: async (): Promise<Alive> => {
        const over = open.filter((connection) => !connection.isOpen);
        const reasons = await Promise.all(over.map((connection) => connection.closed));
        const ended = [...new Set(reasons.map(({ kind, text }) => `${kind} ${text}`.trim()))];
        return { count: open.length - over.length, ended, failures };
      },
      closeAll: async (): Promise<void> => {
        await Promise.all(open.splice(0).map((connection) => connection.close()));
      },
    },
  };
}
