/** JSON values compared as [CONF-7] says: the order of fields means nothing. */

/** Whether a value is an object with fields. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where two values differ first, as a path such as `ok.frames[1].type`; undefined when they don't. */
export function firstDifference(left: unknown, right: unknown, within = 0, path = ''): string | undefined {
  if (typeof left === 'number' && typeof right === 'number') {
    return Math.abs(left - right) <= within ? undefined : here(path);
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    for (let index = 0; index < Math.max(left.length, right.length); index++) {
      const inside = `${path}[${index}]`;
      if (index >= left.length || index >= right.length) return inside;
      const difference = firstDifference(left[index], right[index], within, inside);
      if (difference !== undefined) return difference;
    }
    return undefined;
  }
  if (isObject(left) && isObject(right)) {
    for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
      const inside = path === '' ? name : `${path}.${name}`;
      if (!Object.hasOwn(left, name) || !Object.hasOwn(right, name)) return inside;
      const difference = firstDifference(left[name], right[name], within, inside);
      if (difference !== undefined) return difference;
    }
    return undefined;
  }
  return left === right ? undefined : here(path);
}

/** The value at a path of {@link firstDifference}; undefined where there is none. */
export function valueAt(value: unknown, path: string): unknown {
  let at = value;
  for (const step of path.match(/[^.[\]]+/g) ?? []) {
    if (Array.isArray(at)) at = at[Number(step)];
    else if (isObject(at)) at = at[step];
    else return undefined;
  }
  return at;
}

function here(path: string): string {
  return path === '' ? '.' : path;
}
