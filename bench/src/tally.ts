import type { Dataset, PreparedDataset } from "./datasets.ts";
import type { Measured } from "./measure.ts";
import {
  type DatasetResult,
  type Failure,
  type Measurement,
  type Phase,
  summarize,
} from "./result.ts";

/** What a comparison has measured: the part of a result that grows, turn by turn, over any number of invocations. */
export interface Comparison {
  readonly datasets: readonly DatasetResult[];
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
}

export const NOTHING: Comparison = { datasets: [], measurements: [], failures: [] };

/** One measurement of a turn. */
export interface Sample {
  readonly phase: Phase;
  readonly measured: Pick<Measured, "seconds" | "peakBytes">;
  readonly storedBytes: number | undefined;
}

type Subject = Pick<Measurement, "dataset" | "tool">;

export class Tally {
  readonly #datasets: Map<string, DatasetResult>;
  /** In the order in which they came. */
  readonly #cells: Map<string, Measurement>;
  /** The last failure of each tool, until it succeeds. */
  readonly #failures: Map<string, Failure>;

  constructor({ datasets, measurements, failures }: Comparison) {
    this.#datasets = new Map(datasets.map((dataset) => [dataset.name, dataset]));
    this.#cells = new Map(measurements.map((cell) => [keyOf(cell, cell.phase), cell]));
    this.#failures = new Map(failures.map((failure) => [keyOf(failure), failure]));
  }

  describe({ name, title, changeTitle }: Dataset, { files, bytes }: PreparedDataset): void {
    this.#datasets.set(name, { name, title, changeTitle, files, bytes });
  }

  /** How often a tool had its turn. */
  runsOf(dataset: string, tool: string): number {
    const cells = [...this.#cells.values()].filter(
      (cell) => cell.dataset === dataset && cell.tool === tool,
    );
    return Math.max(0, ...cells.map(({ seconds }) => seconds.runs.length));
  }

  /** Adds a whole turn. */
  add(subject: Subject, samples: readonly Sample[]): void {
    this.#failures.delete(keyOf(subject));
    for (const { phase, measured, storedBytes } of samples) {
      const key = keyOf(subject, phase);
      const before = this.#cells.get(key);
      const stored = [
        ...(before?.storedBytes?.runs ?? []),
        ...(storedBytes === undefined ? [] : [storedBytes]),
      ];
      this.#cells.set(key, {
        ...subject,
        phase,
        seconds: summarize([...(before?.seconds.runs ?? []), measured.seconds]),
        peakBytes: summarize([...(before?.peakBytes.runs ?? []), measured.peakBytes]),
        ...(stored.length === 0 ? {} : { storedBytes: summarize(stored) }),
      });
    }
  }

  fail(failure: Failure): void {
    this.#failures.set(keyOf(failure), failure);
  }

  comparison(): Comparison {
    return {
      datasets: [...this.#datasets.values()],
      measurements: [...this.#cells.values()],
      failures: [...this.#failures.values()],
    };
  }
}

function keyOf({ dataset, tool }: Subject, phase: Phase | "" = ""): string {
  return `${dataset} ${tool} ${phase}`;
}
