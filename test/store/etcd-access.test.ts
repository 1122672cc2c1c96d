/** Who may use an etcd: users and passwords, certificates, URLs. */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { base64, ETCD_PROGRAM, EtcdProcesses, etcdCall } from '../../bench/etcd-processes.ts';
import { findProgram } from '../../lab/programs.ts';
import { openEtcdStateStore } from '../../src/store/etcd-state-store.ts';
import { checkEndpoints, ENDPOINTS_MAX, parseState } from '../../src/store/state-choice.ts';
import { changes, textAt } from './state-store-contract.ts';
import { temporaryDirectory } from './support.ts';

const missing = ETCD_PROGRAM === undefined ? ' (skipped: etcd is not installed)' : '';
const OPENSSL = findProgram('openssl');

describe.skipIf(ETCD_PROGRAM === undefined)(`an etcd with users${missing}`, () => {
  /** Users `root` and `gramline`, who may use `gramline/` and nothing else. */
  async function withUsers(): Promise<EtcdProcesses> {
    const etcd = await EtcdProcesses.start();
    onTestFinished(() => etcd.stop());
    const [url] = etcd.urls;
    const call = (path: string, question: unknown) => etcdCall(url!, `/v3/auth/${path}`, question);
    await call('user/add', { name: 'root', password: 'root' });
    await call('user/grant', { user: 'root', role: 'root' });
    await call('role/add', { name: 'gramline' });
    const perm = { permType: 'READWRITE', key: base64('gramline/'), range_end: base64('gramline0') };
    await call('role/grant', { name: 'gramline', perm });
    await call('user/add', { name: 'gramline', password: 'right' });
    await call('user/grant', { user: 'gramline', role: 'gramline' });
    await call('enable', {});
    return etcd;
  }

  test('lets in who knows the password, and says to others what to check', async () => {
    const etcd = await withUsers();
    const endpoints = etcd.urls;
    const store = await openEtcdStateStore({ endpoints, user: 'gramline', password: 'right' });
    await store.commit([], changes({ a: '1' }));
    expect(textAt(store, 'a')).toBe('1');
    await store.close();
    for (const access of [{ user: 'gramline', password: 'wrong' }, {}, { user: 'nobody', password: 'x' }]) {
      const refusal = openEtcdStateStore({ endpoints, ...access, waitMillis: 60_000 });
      await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
      await expect(refusal).rejects.toThrowError(/Check the user, its password and its role/);
    }
    const elsewhere = { endpoints, user: 'gramline', password: 'right', prefix: 'other/' };
    await expect(openEtcdStateStore(elsewhere)).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
  });

  test('may forget its tokens: new ones are got unasked', async () => {
    const etcd = await withUsers();
    const [url] = etcd.urls;
    const store = await openEtcdStateStore({ endpoints: etcd.urls, user: 'gramline', password: 'right' });
    onTestFinished(() => store.close());
    const { token } = await etcdCall(url!, '/v3/auth/authenticate', { name: 'root', password: 'root' });
    for (let turn = 0; turn < 3; turn++) {
      // Which ends all tokens of that user.
      const question = { name: 'gramline', password: 'right' };
      await etcdCall(url!, '/v3/auth/user/changepw', question, token as string);
      const commits = Array.from({ length: 100 }, (_, index) =>
        store.commit([], changes({ [`k${index}`]: String(turn) })),
      );
      expect((await Promise.all(commits)).every(({ ok }) => ok)).toBe(true);
    }
    // A member that starts knows no token, and the watch has to begin anew as well.
    await etcd.signal(0, 'SIGKILL');
    etcd.restart(0);
    await expect
      .poll(() => store.commit([], changes({ last: '1' })).catch(() => undefined), { timeout: 20_000 })
      .toMatchObject({ ok: true });
  });

  test('is asked for, where a user is named', async () => {
    const etcd = await EtcdProcesses.start();
    onTestFinished(() => etcd.stop());
    const refusal = openEtcdStateStore({ endpoints: etcd.urls, user: 'gramline', password: 'right' });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await expect(refusal).rejects.toThrowError('authentication is not enabled');
  });
});

const withoutTls = ETCD_PROGRAM === undefined || OPENSSL === undefined;
const missingTls = withoutTls ? ' (skipped: etcd or openssl is not installed)' : '';
describe.skipIf(withoutTls)(`an etcd with TLS${missingTls}`, () => {
  /** A certificate authority of this test, and what it signed for `name`. */
  function authority(directory: string) {
    const at = (name: string): string => join(directory, name);
    const openssl = (...parameters: string[]): void => {
      execFileSync(OPENSSL!, parameters, { stdio: 'pipe' });
    };
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      at('ca.key'),
      '-out',
      at('ca'),
      '-days',
      '2',
      '-subj',
      '/CN=test',
    );
    writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1\n');
    const sign = (name: string) => {
      const files = { certificate: at(`${name}.crt`), key: at(`${name}.key`), ca: at('ca') };
      openssl('req', ...newKey, '-keyout', files.key, '-out', at(`${name}.csr`), '-subj', `/CN=${name}`);
      openssl(
        ...['x509', '-req', '-in', at(`${name}.csr`), '-CA', at('ca'), '-CAkey', at('ca.key')],
        ...['-CAcreateserial', '-out', files.certificate, '-days', '2', '-extfile', at('names')],
      );
      return files;
    };
    return sign;
  }

  test('is believed by its authority, and believes who has a certificate', async () => {
    const sign = authority(temporaryDirectory());
    const etcd = await EtcdProcesses.start({ tls: sign('server'), parameters: ['--client-cert-auth'] });
    onTestFinished(() => etcd.stop());
    const own = sign('client');
    const [ca, certificate, key] = [own.ca, own.certificate, own.key].map((path) =>
      readFileSync(path, 'utf8'),
    );
    const endpoints = etcd.urls;
    const store = await openEtcdStateStore({ endpoints, ca, certificate, key, waitMillis: 20_000 });
    await store.commit([], changes({ a: '1' }));
    expect([textAt(store, 'a'), store.isCurrent]).toEqual(['1', true]);
    await store.close();
    const stranger = openEtcdStateStore({ endpoints });
    await expect(stranger).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
    await expect(stranger).rejects.toThrowError(/certificate/);
    const nameless = openEtcdStateStore({ endpoints, ca });
    // Of the alert and the end of the connection either may come first.
    await expect(nameless).rejects.toMatchObject({
      code: expect.stringMatching(/^GRAMLINE_(?:DENIED|TIMEOUT)$/),
    });
    const plain = endpoints.map((url) => url.replace('https', 'http'));
    await expect(openEtcdStateStore({ endpoints: plain })).rejects.toThrowError(/^etcd does not answer at/);
  });
});

describe('a state in words', () => {
  test('is a directory or URLs, and nothing else', () => {
    expect(parseState('lmdb:./a:b')).toEqual({ kind: 'lmdb', directory: './a:b' });
    expect(parseState('etcd:http://a:2379,https://[::1]:2379/')).toEqual({
      kind: 'etcd',
      endpoints: ['http://a:2379', 'https://[::1]:2379'],
    });
    const invalid = expect.objectContaining({ code: 'GRAMLINE_INVALID' });
    for (const text of [
      '',
      'lmdb:',
      'etcd:',
      'a',
      'etcd:a',
      'etcd:http://a,',
      'etcd:ftp://a',
      'etcd:http://a/?b',
    ])
      expect(() => parseState(text), text).toThrowError(invalid);
    const most = Array.from({ length: ENDPOINTS_MAX }, (_, index) => `http://a:${index + 1}`);
    expect(checkEndpoints(most)).toEqual(most);
    expect(() => checkEndpoints([...most, 'http://b'])).toThrowError(invalid);
    expect(() => checkEndpoints([])).toThrowError(invalid);
  });

  test('never says a password that stands in a URL', async () => {
    const refusal = openEtcdStateStore({ endpoints: ['http://me:hidden@a:2379'] });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await expect(refusal).rejects.toThrowError(/^(?!.*hidden)(?!.*me:).*--etcd-password-file/);
  });

  test.each([
    [{ user: 'me' }, 'password'],
    [{ password: 'x' }, 'user'],
    [{ certificate: 'x' }, 'key'],
    [{ key: 'x' }, 'certificate'],
    [{ clusterId: new Uint8Array(15) }, '16 bytes'],
  ])('with %j lacks something', async (access, lacking) => {
    const refusal = openEtcdStateStore({ endpoints: ['http://127.0.0.1:1'], ...access });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await expect(refusal).rejects.toThrowError(lacking);
  });
});
