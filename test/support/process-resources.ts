/** What a process holds of the operating system, as Linux tells it. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Open descriptors of this process. */
export function openDescriptors(): number {
  // One of them is the listing's own.
  return readdirSync('/proc/self/fd').length - 1;
}

/** Local ports of the UDP sockets that `pid` (this process by default) has open. */
export function udpPorts(pid: number | 'self' = 'self'): number[] {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // Closed while we looked.
    }
  }
  const ports: number[] = [];
  for (const table of ['udp', 'udp6']) {
    for (const line of readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (!inodes.has(fields[9] ?? '')) continue;
      ports.push(Number.parseInt(fields[1]!.split(':')[1]!, 16));
    }
  }
  return ports;
}

/** How many resources of each kind keep this process alive, such as `Timeout` and `UDPWrap`. */
export function activeResources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
