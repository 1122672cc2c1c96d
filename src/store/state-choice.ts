/** Where a state is kept, as people write it: `lmdb:DIRECTORY` or `etcd:URL,URL,...`. Opens nothing. */

import { GramlineError } from '../base/errors.ts';

/** Most endpoints of one state in etcd. */
export const ENDPOINTS_MAX = 16;

export type StateChoice =
  | { readonly kind: 'lmdb'; readonly directory: string }
  | {
      readonly kind: 'etcd';
      /** URLs without a path, as `http://a:2379`. */
      readonly endpoints: readonly string[];
    };

/** @throws GRAMLINE_INVALID, with how to write it */
export function parseState(text: string): StateChoice {
  const colon = text.indexOf(':');
  const [kind, rest] = [text.slice(0, colon), text.slice(colon + 1)];
  if (rest !== '' && kind === 'lmdb') return { kind, directory: rest };
  if (rest !== '' && kind === 'etcd') return { kind, endpoints: checkEndpoints(rest.split(',')) };
  throw invalid(`'${text}' is no state: write lmdb:DIR, or etcd:http://HOST:2379,...`);
}

/** @throws GRAMLINE_INVALID when one is no URL of an etcd, or they are none or too many */
export function checkEndpoints(endpoints: readonly string[]): readonly string[] {
  if (endpoints.length === 0 || endpoints.length > ENDPOINTS_MAX)
    throw invalid(`a state in etcd has 1 to ${ENDPOINTS_MAX} endpoints, not ${endpoints.length}`);
  return endpoints.map(originOf);
}

function originOf(endpoint: string): string {
  let url: URL;
  try {
    url = new URL(endpoint);
  } catch {
    throw invalid(`'${endpoint}' is no URL of an etcd: write http://HOST:2379`);
  }
  if (url.username !== '' || url.password !== '') {
    // The words themselves stay unsaid: whoever reads the log need not learn them.
    throw invalid(
      `the URL of etcd at ${url.host} has a user or a password in it, which others can read: use --etcd-user and --etcd-password-file`,
    );
  }
  const isPlain = url.pathname === '/' && url.search === '' && url.hash === '';
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || !isPlain)
    throw invalid(`'${endpoint}' is no URL of an etcd: write http://HOST:2379`);
  return url.origin;
}

function invalid(message: string): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', message);
}
