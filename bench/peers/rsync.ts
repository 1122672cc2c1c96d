/** An `rsync` daemon: no encryption, a checksum of the whole file. */

import { writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { accepts, findProgram, freePort, runProgram, startProgram, until } from '../processes.ts';
import { COPY_MILLIS_MAX, type FilePeer, type PeerOptions, READY_MILLIS_MAX } from './index.ts';

export async function openRsync({ bench, source, directory }: PeerOptions): Promise<FilePeer> {
  const { scope } = bench;
  const port = await freePort();
  const rsync = findProgram('rsync')!;
  const config = join(directory, 'rsyncd.conf');
  const module = ['[files]', `path = ${dirname(source)}`, 'read only = yes', 'use chroot = no'];
  await writeFile(config, [`port = ${port}`, 'address = 127.0.0.1', ...module, ''].join('\n'));
  const server = startProgram(scope, rsync, ['--daemon', '--no-detach', `--config=${config}`]);
  await until(
    () => accepts(port),
    READY_MILLIS_MAX,
    () => `rsync ${server.output()}`,
  );
  return {
    async get(target) {
      const from = `rsync://127.0.0.1:${port}/files/${basename(source)}`;
      const { seconds } = await runProgram(scope, rsync, ['--whole-file', from, target], {
        millis: COPY_MILLIS_MAX,
      });
      return seconds;
    },
  };
}
