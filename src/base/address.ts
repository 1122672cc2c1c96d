/** Addresses as people write them: `host:port`, with an IPv6 host in brackets. */

import { GramlineError } from './errors.ts';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const PORT_MAX = 65_535;

/** The parts of `host:port`, or undefined when it is none. */
export function tryParseAddress(text: string): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > PORT_MAX) return undefined;
  return { host: match[1] ?? match[2]!, port };
}

/** The parts of `host:port`. Throws GRAMLINE_INVALID with an example when it is none. */
export function parseAddress(text: string): HostPort {
  const parsed = tryParseAddress(text);
  if (parsed === undefined) {
    throw new GramlineError(
      'GRAMLINE_INVALID',
      `'${text}' is no address: write HOST:PORT, such as 10.0.0.5:7400`,
    );
  }
  return parsed;
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
