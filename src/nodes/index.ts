/** What does it mean to the cluster? Coordinator, node and client, on ports. */

export * from './client.ts';
export * from './coordinator.ts';
export * from './node.ts';
export * from './ports.ts';
