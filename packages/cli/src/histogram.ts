import { formatBytes, printLine } from "./output.ts";

/** How many sizes lie between powers of ten. */
export class SizeHistogram {
  readonly #counts: number[] = [];
  readonly #totals: number[] = [];
  count = 0;
  totalBytes = 0;

  add(bytes: number): void {
    const power = bytes < 10 ? 0 : Math.floor(Math.log10(bytes + 0.5));
    this.#counts[power] = (this.#counts[power] ?? 0) + 1;
    this.#totals[power] = (this.#totals[power] ?? 0) + bytes;
    this.count++;
    this.totalBytes += bytes;
  }

  /** From the smallest size up to the largest that occurs. */
  buckets(): readonly { from: number; to: number; count: number; totalBytes: number }[] {
    return Array.from(this.#counts, (count: number | undefined, power) => ({
      from: power === 0 ? 0 : 10 ** power,
      to: 10 ** (power + 1),
      count: count ?? 0,
      totalBytes: this.#totals[power] ?? 0,
    }));
  }

  get averageBytes(): number {
    return this.count === 0 ? 0 : Math.round(this.totalBytes / this.count);
  }

  print(size: (bytes: number) => string = formatBytes): void {
    printLine(`Average: ${size(this.averageBytes)}`);
    printLine("Histogram:");
    for (const { from, to, count, totalBytes } of this.buckets()) {
      printLine(
        `${String(count).padStart(9)} between ${size(from)} and ${size(to)} (total ${size(totalBytes)})`,
      );
    }
  }
}
