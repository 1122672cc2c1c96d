/** Which datagram host this machine gets: the one with offload where it works, chosen once. */

import type { DatagramHost } from './host.ts';
import { tryOffload } from './offload.ts';
import { plainHost } from './sockets.ts';

let chosen: DatagramHost | undefined;

/**
 * The best host of this machine. `GRAMLINE_OFFLOAD=off` in the environment takes the plain one.
 *
 * @param onPlain Told once, in a sentence, why there is no offload.
 */
export function machineHost(onPlain: (sentence: string) => void = () => undefined): DatagramHost {
  if (chosen !== undefined) return chosen;
  if (process.env.GRAMLINE_OFFLOAD === 'off') {
    onPlain('segmentation offload is turned off by GRAMLINE_OFFLOAD');
    chosen = plainHost;
    return chosen;
  }
  chosen = tryOffload();
  if (chosen !== undefined) return chosen;
  onPlain('this machine offers no segmentation offload: datagrams are sent one by one');
  chosen = plainHost;
  return chosen;
}
