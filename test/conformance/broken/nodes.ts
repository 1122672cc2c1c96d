/** Broken nodes: our own, with one line changed each, for the runner that plays the coordinator which they join. */

import type { BrokenPeer } from './peers.ts';

export const brokenNodes: readonly Omit<BrokenPeer, 'role'>[] = [
  {
    name: 'keeps a copy without a look at its hash',
    caughtBy: 'REP-4',
    file: 'src/nodes/copying.ts',
    find: 'await writer.finish(hash);',
    replace: 'await writer.finish();',
  },
  {
    name: 'gives a copy up with its first source',
    caughtBy: 'REP-4',
    file: 'src/nodes/copying.ts',
    find: "if (failure === undefined || !isGramlineError(error, 'GRAMLINE_NOT_FOUND')) failure = error;",
    replace: 'throw error;',
  },
  {
    name: 'vouches for what it does not hold',
    caughtBy: 'REP-4',
    file: 'src/nodes/copying.ts',
    find: 'if (sources.length === 0) throw notFound();',
    replace: 'if (sources.length === 0) return;',
  },
  {
    name: 'sends all of its inventory, whatever differs',
    caughtBy: 'DIG-3',
    file: 'src/nodes/node-inventory.ts',
    find: 'if (isNoBucket(differs)) return;',
    replace: 'differs.fill(255);',
  },
];
