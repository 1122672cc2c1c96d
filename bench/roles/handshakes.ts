/** New sessions: many after another, or many that stay. */

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

const OPENING_AT_ONCE = 32;

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
  return {
    ready: {},
    operations: {
      /** Opens sessions until there are `count`. */
      openTo: async ({ count }: { count: number }): Promise<void> => {
        let started = open.length;
        const opener = async (): Promise<void> => {
          while (started < count) {
            started += 1;
            open.push(await transport.connect({ address, role: WireRole.CLIENT }));
          }
        };
        await Promise.all(Array.from({ length: OPENING_AT_ONCE }, opener));
      },
      /** How many are still open. */
      alive: (): number => open.filter((connection) => connection.isOpen).length,
      closeAll: async (): Promise<void> => {
        await Promise.all(open.splice(0).map((connection) => connection.close()));
      },
    },
  };
}
