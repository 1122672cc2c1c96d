/** QUIC and HTTP/3 by the example programs of ngtcp2, AES-256-GCM, with windows as large as ours. */

import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BENCH_CERTIFICATE, BENCH_KEY } from '../certificate.ts';
import { findProgram, freeUdpPort, hasUdpPort, runProgram, startProgram, until } from '../processes.ts';
import { COPY_MILLIS_MAX, type FilePeer, type PeerOptions, READY_MILLIS_MAX } from './index.ts';

const CIPHERS = 'NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM';
const WINDOWS = [
  '--max-data=64M',
  '--max-stream-data-bidi-local=64M',
  '--max-window=64M',
  '--max-stream-window=64M',
];

export async function openNgtcp2({ bench, source, directory }: PeerOptions): Promise<FilePeer> {
  const { scope } = bench;
  const port = String(await freeUdpPort());
  const [key, certificate, inbox] = ['key', 'certificate', 'in'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  await writeFile(key, BENCH_KEY);
  await writeFile(certificate, BENCH_CERTIFICATE);
  await mkdir(inbox);
  const server = ['-q', `--ciphers=${CIPHERS}`, '-d', dirname(source), '127.0.0.1', port, key, certificate];
  const program = startProgram(scope, findProgram('gtlsserver')!, server);
  await until(
    () => hasUdpPort(Number(port)),
    READY_MILLIS_MAX,
    () => `gtlsserver ${program.output()}`,
  );
  const client = [
    '-q',
    `--ciphers=${CIPHERS}`,
    ...WINDOWS,
    '--exit-on-all-streams-close',
    `--download=${inbox}`,
  ];
  return {
    async get(target) {
      const file = basename(source);
      const parameters = [...client, '127.0.0.1', port, `https://127.0.0.1:${port}/${file}`];
      const { seconds } = await runProgram(scope, findProgram('gtlsclient')!, parameters, {
        millis: COPY_MILLIS_MAX,
      });
      await rename(join(inbox, file), target);
      return seconds;
    },
  };
}
