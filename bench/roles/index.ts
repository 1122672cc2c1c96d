/** Every process of the benchmark's own, by name. */

import { echo, echoClient } from './echo.ts';
import { etcdPlain, etcdStore } from './etcd.ts';
import { flowSink, flowSource } from './flows.ts';
import { client, coordinator, node } from './gramline.ts';
import { handshakes, sessions } from './handshakes.ts';
import { natsClient, natsResponder, redisClient } from './stores.ts';
import { tlsHandshakes, tlsSink, tlsSource } from './tls.ts';

export type Operations = Readonly<Record<string, (parameters: never) => unknown>>;

export interface Role {
  /** What its parent is told when it is ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly operations?: Operations;
}

export const roles = {
  coordinator,
  node,
  client,
  echo,
  echoClient,
  flowSink,
  flowSource,
  handshakes,
  sessions,
  tlsSink,
  tlsSource,
  tlsHandshakes,
  redisClient,
  natsClient,
  natsResponder,
  etcdStore,
  etcdPlain,
} satisfies Record<string, (options: never) => Promise<Role>>;

export type RoleName = keyof typeof roles;
