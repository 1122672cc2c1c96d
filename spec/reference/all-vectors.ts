/** Every vector file by its name, made anew by the reference. */

import { ackFile, rttFile } from './cases/acks.ts';
import { congestionFile, datagramSizeFile, senderFile } from './cases/congestion.ts';
import { frameFile } from './cases/frames.ts';
import { handshakeFile } from './cases/handshake.ts';
import { frontFile, keyFile, proofFile } from './cases/keys.ts';
import { messageFile } from './cases/messages.ts';
import { datagramFile, packetFile } from './cases/packets.ts';
import { recordFile } from './cases/records.ts';
import { recoveryFile } from './cases/recovery.ts';
import { replayFile, sealingFile } from './cases/sealing.ts';
import { segmentFile } from './cases/segments.ts';
import type { VectorFile } from './vectors.ts';

export function vectorFiles(): Record<string, VectorFile> {
  return {
    packets: packetFile(),
    datagrams: datagramFile(),
    frames: frameFile(),
    messages: messageFile(),
    records: recordFile(),
    keys: keyFile(),
    front: frontFile(),
    handshake: handshakeFile(),
    proofs: proofFile(),
    sealing: sealingFile(),
    replay: replayFile(),
    segments: segmentFile(),
    acks: ackFile(),
    rtt: rttFile(),
    recovery: recoveryFile(),
    congestion: congestionFile(),
    sender: senderFile(),
    'datagram-size': datagramSizeFile(),
  };
}
