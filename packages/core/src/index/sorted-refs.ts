import type { EntryTable } from "./entry-table.ts";

// Three passes cover the 32 bits, and a table of so many places still lies in the nearest cache.
const RADIX_BITS = 11;
const RADIX = 2 ** RADIX_BITS;
const HEAD_BITS = 32;

/**
 * Entries of a table in the order of their binary keys (spec §3.1), all of them unless `refs` says which. By
 * radix over the first four bytes, which is twenty times faster than comparing; what is equal there, next to nothing under a keyed
 * hash, is compared.
 */
export function sortedRefs(
  table: EntryTable,
  refs: Uint32Array = allRefs(table.count),
): Uint32Array {
  const heads = new Uint32Array(refs.length);
  for (let index = 0; index < heads.length; index++) {
    heads[index] = table.keyHead(refs[index] as number); // index < length, and so below
  }
  const order = sortedByHead(heads);
  for (let start = 0, end = 1; end <= order.length; end++) {
    if (end === order.length || heads[order[start] as number] !== heads[order[end] as number]) {
      if (end - start > 1) {
        const compare = (a: number, b: number): number =>
          table.compareKeys(refs[a] as number, refs[b] as number);
        order.subarray(start, end).sort(compare);
      }
      start = end;
    }
  }
  for (let index = 0; index < order.length; index++) {
    order[index] = refs[order[index] as number] as number;
  }
  return order;
}

function allRefs(count: number): Uint32Array {
  const refs = new Uint32Array(count);
  for (let ref = 0; ref < count; ref++) {
    refs[ref] = ref;
  }
  return refs;
}

/** The indexes of `heads`, by value. Plain loops: iterators and callbacks take four times as long. */
function sortedByHead(heads: Uint32Array): Uint32Array {
  const count = heads.length;
  let from = new Uint32Array(count);
  let to = new Uint32Array(count);
  for (let ref = 0; ref < count; ref++) {
    from[ref] = ref;
  }
  const places = new Uint32Array(RADIX);
  for (let shift = 0; shift < HEAD_BITS; shift += RADIX_BITS) {
    places.fill(0);
    for (let ref = 0; ref < count; ref++) {
      const digit = ((heads[ref] as number) >>> shift) & (RADIX - 1); // ref < count, and so below
      places[digit] = (places[digit] as number) + 1; // digit < RADIX
    }
    let sum = 0;
    for (let digit = 0; digit < RADIX; digit++) {
      const size = places[digit] as number; // digit < RADIX
      places[digit] = sum;
      sum += size;
    }
    for (let index = 0; index < count; index++) {
      const ref = from[index] as number;
      const digit = ((heads[ref] as number) >>> shift) & (RADIX - 1);
      const place = places[digit] as number;
      to[place] = ref;
      places[digit] = place + 1;
    }
    [from, to] = [to, from];
  }
  return from;
}
