/** Programs that move files, each behind the same small face. */

import type { Bench } from '../bench.ts';
import { openNgtcp2 } from './ngtcp2.ts';
import { openRsync } from './rsync.ts';
import { openScp } from './scp.ts';
import { openSrt } from './srt.ts';
import { openUftp } from './uftp.ts';

export interface FilePeer {
  /** Copies the file from its server into `target`; resolves to seconds, the whole command's. */
  get(target: string): Promise<number>;
  /** Copies the file to its server, to `target` there; where the program can. */
  put?(target: string): Promise<number>;
}

/** What a peer is opened with. */
export interface PeerOptions {
  readonly bench: Bench;
  /** The file. It lies alone in its directory. */
  readonly source: string;
  /** A new directory for what the peer needs. */
  readonly directory: string;
}

export interface PeerKind {
  readonly name: string;
  /** Programs that must be installed. */
  readonly programs: readonly string[];
  readonly open: (options: PeerOptions) => Promise<FilePeer>;
}

/** How long one copy may take. */
export const COPY_MILLIS_MAX = 300_000;
export const READY_MILLIS_MAX = 10_000;

export const FILE_PEERS: readonly PeerKind[] = [
  { name: 'scp', programs: ['scp', 'sshd', 'ssh-keygen'], open: openScp },
  { name: 'rsync', programs: ['rsync'], open: openRsync },
  { name: 'uftp', programs: ['uftp', 'uftpd'], open: openUftp },
  { name: 'srt', programs: ['srt-file-transmit'], open: openSrt },
  { name: 'ngtcp2', programs: ['gtlsserver', 'gtlsclient'], open: openNgtcp2 },
];
