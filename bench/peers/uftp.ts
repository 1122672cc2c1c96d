/**
 * `uftp` with AES-256-GCM, to one receiver by unicast. It knows no congestion control by default:
 * the rate is ours to choose, and this one is above what it reaches here. It starts with seconds of
 * announcements, which are part of its time.
 */

import { mkdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findProgram, freeUdpPort, hasUdpPort, runProgram, startProgram, until } from '../processes.ts';
import { COPY_MILLIS_MAX, type FilePeer, type PeerOptions, READY_MILLIS_MAX } from './index.ts';

const RATE_KILOBITS = 8_000_000;
const BLOCK_BYTES = 8_800;
const BUFFER_BYTES = 4_194_304;

export async function openUftp({ bench, source, directory }: PeerOptions): Promise<FilePeer> {
  const { scope } = bench;
  const port = String(await freeUdpPort());
  const inbox = join(directory, 'in');
  await mkdir(inbox);
  const common = ['-I', 'lo', '-p', port, '-M', '127.0.0.1', '-B', String(BUFFER_BYTES)];
  const program = startProgram(scope, findProgram('uftpd')!, ['-d', '-E', '-D', inbox, ...common]);
  await until(
    () => hasUdpPort(Number(port)),
    READY_MILLIS_MAX,
    () => `uftpd ${program.output()}`,
  );
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
