// Seconds of a turn at full size on two cores, all of it, until one has been measured.
const FIRST_GUESS: ReadonlyMap<string, number> = new Map([
  ["image", 50],
  ["source", 60],
  ["tiny", 90],
  ["database", 35],
]);
const OTHERWISE = 60;

/** How long a comparison still takes: what is left of each dataset times the mean of its turns so far. */
export class TimeLeft {
  readonly #left: Map<string, number>;
  readonly #spent: Map<string, { turns: number; seconds: number }> = new Map();

  constructor(turns: ReadonlyMap<string, number>) {
    this.#left = new Map(turns);
  }

  passed(dataset: string, seconds: number): void {
    const spent = this.#spent.get(dataset) ?? { turns: 0, seconds: 0 };
    this.#spent.set(dataset, { turns: spent.turns + 1, seconds: spent.seconds + seconds });
    this.#left.set(dataset, (this.#left.get(dataset) ?? 0) - 1);
  }

  text(): string {
    let turns = 0;
    let seconds = 0;
    for (const [dataset, left] of this.#left) {
      const spent = this.#spent.get(dataset);
      const each =
        spent === undefined ? (FIRST_GUESS.get(dataset) ?? OTHERWISE) : spent.seconds / spent.turns;
      turns += left;
      seconds += left * each;
    }
    return `${turns} turns left, about ${Math.ceil(seconds / 60)} minutes`;
  }
}
