/** What a figure depends on beside the code, so that it can be judged later. */

import { execFileSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';

const TMPFS_MAGIC = 0x01021994;
const MEMORY_DIRECTORY = '/dev/shm';

export interface Environment {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly commit: string;
  /** Whether tracked files differ from the commit. */
  readonly modified: boolean;
  readonly congestionControl: string;
  /** `net.core.rmem_max`: what a socket may buffer unasked. */
  readonly receiveBufferBytesMax: number;
}

export function readEnvironment(): Environment {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    commit: git(['rev-parse', '--short', 'HEAD']) ?? 'unknown',
    modified: git(['status', '--porcelain', '--untracked-files=no']) !== '',
    congestionControl: sysctl('net/ipv4/tcp_congestion_control') ?? 'unknown',
    receiveBufferBytesMax: Number(sysctl('net/core/rmem_max') ?? 0),
  };
}

/** The kernel's setting of that name, as below /proc/sys. */
export function sysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** A directory in memory with room for `bytes`, so that no disk is measured; undefined where there is none. */
export function memoryDirectory(bytes: number): string | undefined {
  for (const path of [MEMORY_DIRECTORY, '/tmp']) {
    try {
      const { type, bavail, bsize } = statfsSync(path);
      if (type === TMPFS_MAGIC && bavail * bsize >= bytes) return path;
    } catch {
      // Not on this system.
    }
  }
  return undefined;
}

function git(parameters: readonly string[]): string | undefined {
  try {
    return execFileSync('git', parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}
