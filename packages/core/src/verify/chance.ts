/** Whether `text` is in a part of all texts: the same for the same seed, with a larger part of a smaller. */
export function isChosen(text: string, part: { fraction: number; seed: string }): boolean {
  return part.fraction >= 1 || chance(`${part.seed}/${text}`) < part.fraction;
}

/** A number from 0 up to 1 that depends on the text alone (FNV-1a). */
function chance(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  // The last bytes must reach the high bits.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
