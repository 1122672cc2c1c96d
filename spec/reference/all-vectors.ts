/** Every vector file by its name, made anew by the reference. */

import { frameFile } from './cases/frames.ts';
import { datagramFile, packetFile } from './cases/packets.ts';
import type { VectorFile } from './vectors.ts';

export function vectorFiles(): Record<string, VectorFile> {
  return {
    packets: packetFile(),
    datagrams: datagramFile(),
    frames: frameFile(),
  };
}
