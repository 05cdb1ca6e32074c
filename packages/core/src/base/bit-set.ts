/** A set of numbers from 0 up, a bit each. */
export class BitSet {
  #words = new Uint32Array(0);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** False when it was there already. */
  add(number: number): boolean {
    const word = number >>> 5;
    if (word >= this.#words.length) {
      const grown = new Uint32Array(Math.max(word + 1, Math.ceil(this.#words.length * 1.5), 64));
      grown.set(this.#words);
      this.#words = grown;
    }
    const before = this.#words[word] as number; // there is room now
    const after = (before | (1 << (number & 31))) >>> 0;
    this.#words[word] = after;
    this.#size += before === after ? 0 : 1;
    return before !== after;
  }

  has(number: number): boolean {
    return (((this.#words[number >>> 5] ?? 0) >>> (number & 31)) & 1) === 1;
  }

  /** In ascending order. */
  *[Symbol.iterator](): Generator<number, void, undefined> {
    for (let index = 0; index < this.#words.length; index++) {
      for (let word = this.#words[index] as number; word !== 0; word &= word - 1) {
        yield index * 32 + 31 - Math.clz32(word & -word);
      }
    }
  }
}
