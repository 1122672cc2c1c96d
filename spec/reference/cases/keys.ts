/** Cases of sections 2.1 to 2.3, 2.8 and 6.6: secrets, the key schedule, MACs, proofs and receipts. */

import { bytesOf, hexOf } from '../json.ts';
import { CaseList, counting, fixedBytes, flipped, type VectorFile } from '../vectors.ts';
import { encodedOf, PACKETS } from './packets.ts';

const SECRET = hexOf(counting(0, 32));

export function keyFile(): VectorFile {
  const cases = new CaseList('Secrets and the key schedule');
  const secrets = {
    'counted secret': SECRET,
    'secret of zeros': '00'.repeat(32),
    'secret of ones': 'ff'.repeat(32),
  };
  for (const [name, secret] of Object.entries(secrets)) {
    for (const label of ['psk', 'hello', 'control', 'record', 'update', 'traffic']) {
      cases.takes(`label ${label} of the ${name}`, 'KEY-1', 'key.label', { secret, name: label, length: 32 });
    }
    cases.takes(`keys of the ${name}`, 'KEY-2', 'key.cluster', { clusterSecret: secret });
  }
  for (const length of [1, 8, 31, 33, 64, 100]) {
    cases.takes(`label of ${length} bytes`, 'KEY-1', 'key.label', {
      secret: SECRET,
      name: 'secret id',
      length,
    });
  }
  const splitKey = hexOf(fixedBytes('split key', 32));
  const handshakeHash = hexOf(fixedBytes('handshake hash', 32));
  const { trafficSecret } = cases.takes('first traffic secret', 'KEY-3', 'key.traffic', {
    handshakeHash,
    splitKey,
  });
  for (const epoch of [0, 1, 2, 3, 4, 5, 100]) {
    cases.takes(`keys of epoch ${epoch}`, 'KEY-3 KEY-7', 'key.epoch', {
      trafficSecret: trafficSecret!,
      epoch,
    });
  }
  cases.takes('passphrase', 'SECRET-1', 'key.passphrase', { passphrase: 'correct horse battery staple' });
  // The accents and the ligature are written in two ways; both give the same secret.
  cases.takes('passphrase that NFKC changes', 'SECRET-1', 'key.passphrase', {
    passphrase: 'Ve\u0301rite\u0301 de la \ufb01n',
  });
  cases.takes('the same passphrase, composed', 'SECRET-1', 'key.passphrase', {
    passphrase: 'V\u00e9rit\u00e9 de la fin',
  });
  cases.takes('passphrase of 12 points beyond 16 bits', 'SECRET-1 SECRET-2', 'key.passphrase', {
    passphrase: '\u{1f511}'.repeat(12),
  });
  const short = {
    'of 11 letters': 'elevenchars',
    'of 11 points beyond 16 bits': '\u{1f511}'.repeat(11),
    'of 12 points that NFKC makes 11': 'elevenchar' + 'e\u0301',
    'of nothing': '',
  };
  for (const [name, passphrase] of Object.entries(short)) {
    cases.refuses(`passphrase ${name}`, 'SECRET-2', 'key.passphrase', { passphrase });
  }
  return cases.file;
}

export function frontFile(): VectorFile {
  const cases = new CaseList('The MAC of the front port');
  for (const [name, packet] of Object.entries(PACKETS)) {
    if (packet.type === 'SEALED' || packet.type === 'SEGMENT') continue;
    const body = encodedOf(packet).slice(0, -16);
    const { mac } = cases.takes(`MAC of ${name}`, 'HELLO-1', 'front.mac', {
      clusterSecret: SECRET,
      bytes: hexOf(body),
    });
    const whole = Uint8Array.from([...body, ...bytesOf(mac as string)]);
    cases.takes(`${name} with its MAC`, 'HELLO-1', 'front.check', {
      clusterSecret: SECRET,
      packet: hexOf(whole),
    });
    const wrong: Readonly<Record<string, Uint8Array>> = {
      'its first bit turned': flipped(whole, 0, 7),
      'a bit of its length turned': flipped(whole, 3),
      'the last byte before the MAC turned': flipped(whole, whole.length - 17),
      'the first bit of the MAC turned': flipped(whole, whole.length - 16, 7),
      'the last bit of the MAC turned': flipped(whole, whole.length - 1),
      'a MAC of zeros': Uint8Array.from([...body, ...new Uint8Array(16)]),
      'its last byte missing': whole.slice(0, -1),
    };
    for (const [what, bytes] of Object.entries(wrong)) {
      cases.refuses(`${name}, ${what}`, 'HELLO-1 HELLO-2', 'front.check', {
        clusterSecret: SECRET,
        packet: hexOf(bytes),
      });
    }
    cases.refuses(`${name} under another secret`, 'HELLO-1', 'front.check', {
      clusterSecret: hexOf(counting(1, 32)),
      packet: hexOf(whole),
    });
  }
  return cases.file;
}

export function proofFile(): VectorFile {
  const cases = new CaseList('Admission proofs and receipts');
  const admissionSecret = hexOf(fixedBytes('admission secret', 32));
  const handshakeHash = hexOf(fixedBytes('handshake hash', 32));
  const nonce = hexOf(fixedBytes('admission nonce', 32));
  for (const role of ['node', 'coordinator']) {
    const clauses = role === 'node' ? 'ADM-1' : 'ADM-1 ADM-8';
    cases.takes(`proof of a ${role}`, clauses, 'admission.proof', {
      admissionSecret,
      handshakeHash,
      nonce,
      role,
    });
  }
  // Without the length of the nonce these two would be one.
  const parts = { admissionSecret, handshakeHash };
  cases.takes('nonce that ends in the role', 'ADM-2', 'admission.proof', {
    ...parts,
    nonce: '6e',
    role: 'ode',
  });
  cases.takes('role that starts with the nonce', 'ADM-2', 'admission.proof', {
    ...parts,
    nonce: '',
    role: 'node',
  });
  cases.takes('another session', 'ADM-1', 'admission.proof', {
    admissionSecret,
    handshakeHash: hexOf(fixedBytes('other handshake hash', 32)),
    nonce,
    role: 'node',
  });
  const receipt = {
    admissionSecret,
    nodeId: hexOf(counting(0x50, 16)),
    token: hexOf(counting(0x70, 8)),
    hash: hexOf(counting(0xa0, 32)),
  };
  for (const size of [0, 1, 65_536, 2 ** 32, 2 ** 48 - 1]) {
    cases.takes(`receipt for ${size} bytes`, 'DEFS-8', 'receipt.make', { ...receipt, size });
  }
  cases.takes('receipt of another node', 'DEFS-8', 'receipt.make', {
    ...receipt,
    nodeId: '00'.repeat(16),
    size: 1,
  });
  cases.takes('receipt under another token', 'DEFS-8', 'receipt.make', {
    ...receipt,
    token: '00'.repeat(8),
    size: 1,
  });
  return cases.file;
}
