/** `srt-file-transmit` with AES-256: one process listens and writes, another calls and sends. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findProgram, freeUdpPort, hasUdpPort, runProgram, startProgram, until } from '../processes.ts';
import { withDeadline } from '../scope.ts';
import { COPY_MILLIS_MAX, type FilePeer, type PeerOptions, READY_MILLIS_MAX } from './index.ts';

export async function openSrt({ bench, source, directory }: PeerOptions): Promise<FilePeer> {
  const { scope } = bench;
  const program = findProgram('srt-file-transmit')!;
  const name = basename(source);
  const inbox = join(directory, 'in');
  await mkdir(inbox);
  const passphrase = randomBytes(16).toString('hex');
  return {
    async get(target) {
      const port = await freeUdpPort();
      const at = (mode: string): string =>
        `srt://127.0.0.1:${port}?mode=${mode}&transtype=file&passphrase=${passphrase}&pbkeylen=32`;
      // It ends with its one transfer. The name is said to both: now and then the caller's comes too late.
      const receiver = startProgram(scope, program, ['-q', at('listener'), `file://${join(inbox, name)}`]);
      try {
        await until(
          () => hasUdpPort(port),
          READY_MILLIS_MAX,
          () => `srt-file-transmit ${receiver.output()}`,
        );
        const received = once(receiver.process, 'exit');
        const start = performance.now();
        const { output } = await runProgram(scope, program, ['-q', `file://${source}`, at('caller')], {
          millis: COPY_MILLIS_MAX,
        });
        const [code] = await withDeadline(received, COPY_MILLIS_MAX, 'the receiving end of srt');
        const seconds = (performance.now() - start) / 1000;
        if (code !== 0) throw new Error(`srt-file-transmit ended with ${code}: ${receiver.output()}`);
        await rename(join(inbox, name), target).catch((error: Error) => {
          throw new Error(`${error.message}: ${output}: ${receiver.output()}`);
        });
        return seconds;
      } finally {
        await receiver.stop();
      }
    },
  };
}
