/**
 * Where a new object goes: two random choices weighted by free bytes, the emptier one wins [DEFS-14]. Cost
 * depends on the number of nodes, never on the number of objects.
 */

/** What placement needs to know of a node. */
export interface Placeable {
  readonly quotaBytes: number;
  /** Free bytes less what is reserved. */
  readonly availableBytes: number;
}

const CHOICES = 2;

/**
 * Up to `count` different nodes that can take `bytes`; fewer when fewer can.
 *
 * @param fraction Chance from 0 (included) to 1 (excluded).
 */
export function choosePlaces<Node extends Placeable>(
  nodes: readonly Node[],
  bytes: number,
  count: number,
  fraction: () => number,
): Node[] {
  const candidates = nodes.filter((node) => node.availableBytes >= bytes);
  const chosen: Node[] = [];
  while (chosen.length < count && candidates.length > 0) {
    let best: number | undefined;
    for (let choice = 0; choice < CHOICES; choice++) {
      const index = weightedIndex(candidates, fraction());
      if (best === undefined || freeShare(candidates[index]!) > freeShare(candidates[best]!)) best = index;
    }
    chosen.push(...candidates.splice(best!, 1));
  }
  return chosen;
}

/** Index of a node drawn with a chance that is proportional to its available bytes. */
function weightedIndex(nodes: readonly Placeable[], fraction: number): number {
  // One more byte each: nodes without space can still take empty objects.
  const total = nodes.reduce((sum, node) => sum + node.availableBytes + 1, 0);
  let left = fraction * total;
  for (let index = 0; index < nodes.length - 1; index++) {
    left -= nodes[index]!.availableBytes + 1;
    if (left < 0) return index;
  }
  return nodes.length - 1;
}

function freeShare(node: Placeable): number {
  return node.quotaBytes === 0 ? 0 : node.availableBytes / node.quotaBytes;
}
