/** The lab of the repository as the benchmark uses it: every host is a place, and ends with its scope. */

import { type LabHost, openLab, labTrouble as troubleOf } from '../lab/lab.ts';
import { sysctl } from './environment.ts';
import type { Place } from './processes.ts';
import type { Scope } from './scope.ts';

export { setCongestionControl, setDeviceOffloads, setLoss } from '../lab/lab.ts';

export type Host = LabHost & Place;
let labs = 0;

/** Why the network cases can't run here, or undefined. */
export function labTrouble(): string | undefined {
  return troubleOf({ lossPercent: 1, offload: 'off' });
}

/** The congestion controls that TCP has here. */
export function congestionControls(): readonly string[] {
  return (sysctl('net/ipv4/tcp_available_congestion_control') ?? '').split(' ');
}

/** Two hosts with one cable between them, MTU 1,500. */
export function openPair(scope: Scope): readonly [Host, Host] {
  const [left, right] = open(scope, 2, 'cable');
  return [left!, right!];
}

/** Hosts around one switch, MTU 1,500. */
export function openStar(scope: Scope, count: number): readonly Host[] {
  return open(scope, count, 'switch');
}

function open(scope: Scope, hosts: number, joined: 'cable' | 'switch'): readonly Host[] {
  labs += 1;
  const lab = openLab({ name: `bench-${process.pid}-${labs}`, hosts, joined });
  // Whoever is interrupted can't wait: in any case it is gone when the process is.
  const forget = scope.inEmergency(() => lab.close());
  scope.defer(() => {
    forget();
    lab.close();
  });
  return lab.hosts.map((host) => ({ ...host, host: host.address }));
}
