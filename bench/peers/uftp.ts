/**
 * `uftp` with AES-256-GCM, to one receiver by unicast. It knows no congestion control by default:
 * the rate is ours to choose, and this one is above what it reaches here. It starts with seconds of
 * announcements, which are part of its time.
 */

import { mkdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findProgram, freePort, runProgram, startProgram } from '../processes.ts';
import { COPY_MILLIS_MAX, type FilePeer, type PeerOptions } from './index.ts';

const RATE_KILOBITS = 8_000_000;
const BLOCK_BYTES = 8_800;
const BUFFER_BYTES = 4_194_304;
const START_MILLIS = 500;

export async function openUftp({ bench, source, directory }: PeerOptions): Promise<FilePeer> {
  const { scope } = bench;
  const port = String(await freePort());
  const inbox = join(directory, 'in');
  await mkdir(inbox);
  const common = ['-I', 'lo', '-p', port, '-M', '127.0.0.1', '-B', String(BUFFER_BYTES)];
  startProgram(scope, findProgram('uftpd')!, ['-d', '-E', '-D', inbox, ...common]);
  // It says nothing that could be waited for.
  await new Promise((resolve) => setTimeout(resolve, START_MILLIS));
  const encryption = ['-Y', 'aes256-gcm', '-h', 'sha256'];
  const speed = ['-R', String(RATE_KILOBITS), '-b', String(BLOCK_BYTES)];
  return {
    async get(target) {
      const parameters = ['-x', '1', ...common, ...encryption, ...speed, source];
      const { seconds } = await runProgram(scope, findProgram('uftp')!, parameters, {
        millis: COPY_MILLIS_MAX,
      });
      await rename(join(inbox, basename(source)), target);
      return seconds;
    },
  };
}
