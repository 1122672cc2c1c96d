/** `scp -c aes256-gcm@openssh.com` with an `sshd` of its own: own keys, own configuration, own port. */

import { existsSync } from 'node:fs';
import { copyFile, mkdir, rmdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { accepts, findProgram, freePort, runProgram, startProgram, until } from '../processes.ts';
import { COPY_MILLIS_MAX, type FilePeer, type PeerOptions, READY_MILLIS_MAX } from './index.ts';

const CIPHER = 'aes256-gcm@openssh.com';
/** As root `sshd` insists on this empty directory. */
const PRIVILEGE_DIRECTORY = '/run/sshd';

export async function openScp({ bench, source, directory }: PeerOptions): Promise<FilePeer> {
  const { scope } = bench;
  const port = await freePort();
  const { username } = userInfo();
  for (const key of ['host', 'user']) {
    const parameters = ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, key)];
    await runProgram(scope, findProgram('ssh-keygen')!, parameters, { millis: READY_MILLIS_MAX });
  }
  await copyFile(join(directory, 'user.pub'), join(directory, 'authorized'));
  const config = join(directory, 'sshd_config');
  await writeFile(
    config,
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${join(directory, 'host')}`,
      `AuthorizedKeysFile ${join(directory, 'authorized')}`,
      'StrictModes no',
      'UsePAM no',
      'PidFile none',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      `AllowUsers ${username}`,
      `Ciphers ${CIPHER}`,
      'Subsystem sftp internal-sftp',
      '',
    ].join('\n'),
  );
  if (process.getuid?.() === 0 && !existsSync(PRIVILEGE_DIRECTORY)) {
    await mkdir(PRIVILEGE_DIRECTORY, { mode: 0o755 });
    scope.defer(() => rmdir(PRIVILEGE_DIRECTORY));
  }
  const server = startProgram(scope, findProgram('sshd')!, ['-D', '-e', '-f', config]);
  await until(
    () => accepts(port),
    READY_MILLIS_MAX,
    () => `sshd ${server.output()}`,
  );
  const parameters = ['-q', '-F', 'none', '-c', CIPHER, '-i', join(directory, 'user'), '-P', String(port)];
  for (const option of [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'BatchMode=yes',
    'LogLevel=ERROR',
  ]) {
    parameters.push('-o', option);
  }
  const copy = async (from: string, to: string): Promise<number> => {
    const { seconds } = await runProgram(scope, findProgram('scp')!, [...parameters, from, to], {
      millis: COPY_MILLIS_MAX,
    });
    return seconds;
  };
  const there = `${username}@127.0.0.1:`;
  return {
    get: (target) => copy(`${there}${source}`, target),
    put: (target) => copy(source, `${there}${target}`),
  };
}
