/** Which C functions are here? Sockets of libc, and the OpenSSL inside the node program. */

export * from './koffi.ts';
export * from './libc.ts';
