/** The slow twin of LZ4 block decoding [REC-5], one byte after the other. */

/** The plaintext of a block, or undefined when the block does not hold exactly `plainLength` bytes. */
export function expandBlock(block: Uint8Array, plainLength: number): Uint8Array | undefined {
  const output: number[] = [];
  let at = 0;
  const next = (): number | undefined => {
    const byte = block[at];
    at += 1;
    return byte;
  };
  /** A length of 15 goes on in bytes of 255. */
  const extended = (start: number): number | undefined => {
    let length = start;
    if (start < 15) return length;
    for (;;) {
      const more = next();
      if (more === undefined) return undefined;
      length += more;
      if (more < 255) return length;
    }
  };
  for (;;) {
    const token = next();
    if (token === undefined) return undefined;
    const literals = extended(token >> 4);
    if (literals === undefined || at + literals > block.length) return undefined;
    if (output.length + literals > plainLength) return undefined;
    for (let count = 0; count < literals; count++) output.push(next()!);
    // The last sequence is literals alone.
    if (at === block.length) break;
    const low = next();
    const high = next();
    if (low === undefined || high === undefined) return undefined;
    const distance = low + 256 * high;
    const more = extended(token & 15);
    if (more === undefined || distance === 0 || distance > output.length) return undefined;
    const length = more + 4;
    if (output.length + length > plainLength) return undefined;
    for (let count = 0; count < length; count++) output.push(output[output.length - distance]!);
  }
  return output.length === plainLength ? Uint8Array.from(output) : undefined;
}
