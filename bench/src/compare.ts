import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type Dataset,
  prepareDataset,
  type PreparedDataset,
  sizeOfTree,
  withChange,
} from "./datasets.ts";
import { measure, type Measured, settle } from "./measure.ts";
import {
  type DatasetResult,
  type Failure,
  type Measurement,
  type Phase,
  summarize,
} from "./result.ts";
import { commandOf, type FoundProgram, type Place, type Program, type Tool } from "./tools.ts";

/**
 * The end-to-end comparison: every tool backs up, and restores, the same data in the same minutes. A run takes all tools
 * one after another, the next run in another order, so that a slow minute of the machine hits none of them alone.
 */

export interface CompareOptions {
  readonly datasets: readonly Dataset[];
  readonly tools: readonly Tool[];
  readonly programs: ReadonlyMap<Program, FoundProgram>;
  readonly runs: number;
  readonly scale: number;
  /** Which measurements are made; a restore needs the small change. */
  readonly phases: readonly Phase[];
  /** Holds datasets, which stay, and repositories, which do not. */
  readonly directory: string;
  readonly log: (line: string) => void;
}

export interface Comparison {
  readonly datasets: readonly DatasetResult[];
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
}

export const CONDITIONS: readonly string[] = [
  "Caches are warm: the source is read once before each tool's turn, and repositories were just written.",
  "Each tool has a new repository and cache directory in each run, on the same local disk as the data; written data is flushed to disk before each command, outside its time.",
  "Time is that of the whole process, from its start to its exit, key derivation and automatic maintenance included. Making the repository is not measured.",
  "What is restored is checked by the count and the bytes of its files.",
  "Peak memory is VmHWM of all processes of the command, looked at every 20 ms.",
  "cp is `cp -a` of the same data, beside each dataset's restores.",
];

/** Beside the tools: what the disk and the file system alone take. */
export const CP = "cp";

export async function compare(options: CompareOptions): Promise<Comparison> {
  const { datasets, tools, runs, scale, directory, log } = options;
  const cells = new Cells();
  const failures: Failure[] = [];
  const described: DatasetResult[] = [];
  for (const dataset of datasets) {
    log(`${dataset.name}: ${dataset.title}, scale ${scale}`);
    const prepared = prepareDataset(dataset, join(directory, "data"), scale);
    const { name, title, changeTitle } = dataset;
    const { files, bytes } = prepared;
    described.push({ name, title, changeTitle, files, bytes });
    for (let run = 0; run < runs; run++) {
      for (const tool of rotated(tools, run)) {
        const turn = new Turn(options, { dataset, prepared, tool, cells });
        try {
          await turn.run();
        } catch (error) {
          const message = withoutPaths(error instanceof Error ? error.message : String(error));
          failures.push({ dataset: name, tool: tool.name, message });
          log(`  ${tool.name} failed: ${message}`);
        } finally {
          turn.clean();
        }
      }
      await copy(options, { dataset, prepared, cells });
    }
  }
  return { datasets: described, measurements: cells.measurements(), failures };
}

interface Subject {
  readonly dataset: Dataset;
  readonly prepared: PreparedDataset;
  readonly cells: Cells;
}

/** One tool, one dataset, one run. */
class Turn {
  readonly #options: CompareOptions;
  readonly #subject: Subject & { readonly tool: Tool };
  readonly #directory: string;
  readonly #place: Place;
  readonly #program: FoundProgram;

  constructor(options: CompareOptions, subject: Subject & { readonly tool: Tool }) {
    const program = options.programs.get(subject.tool.program);
    if (program === undefined) {
      throw new Error(`${subject.tool.program} is not installed`);
    }
    this.#options = options;
    this.#subject = subject;
    this.#program = program;
    this.#directory = join(options.directory, "turn");
    this.#place = {
      home: join(this.#directory, "home"),
      repository: join(this.#directory, "repository"),
      cache: join(this.#directory, "cache"),
    };
  }

  async run(): Promise<void> {
    const { dataset, prepared, tool } = this.#subject;
    const wanted = this.#options.phases;
    this.clean();
    for (const directory of Object.values(this.#place)) {
      mkdirSync(directory, { recursive: true });
    }
    for (const step of tool.setup(this.#place)) {
      await measure(commandOf(this.#program, step));
    }
    readTree(prepared.path);
    await this.#backup("first", 1);
    if (wanted.includes("unchanged")) {
      await this.#backup("unchanged", 2);
    }
    if (wanted.includes("change")) {
      const { path } = prepared;
      await withChange(dataset, { path, scale: this.#options.scale }, async () => {
        const { stdout } = await this.#backup("change", 3);
        if (wanted.includes("restore")) {
          await this.#restore(stdout);
        }
      });
    }
  }

  clean(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #backup(phase: Phase, number: number): Promise<Measured> {
    const { prepared, tool } = this.#subject;
    await settle();
    const step = tool.backup(this.#place, prepared.path, number);
    const measured = await measure(commandOf(this.#program, step));
    this.#record(phase, measured, sizeOfTree(this.#place.repository).bytes);
    return measured;
  }

  async #restore(printed: string): Promise<void> {
    const { prepared, tool } = this.#subject;
    const target = join(this.#directory, "restored");
    mkdirSync(target);
    await settle();
    const step = tool.restore(this.#place, target, printed);
    const measured = await measure(commandOf(this.#program, step));
    const [want, got] = [sizeOfTree(prepared.path), sizeOfTree(target)];
    if (want.files !== got.files || want.bytes !== got.bytes) {
      throw new Error(
        `restored ${got.files} files, ${got.bytes} bytes of ${want.files} files, ${want.bytes} bytes`,
      );
    }
    this.#record("restore", measured, undefined);
  }

  #record(phase: Phase, measured: Measured, storedBytes: number | undefined): void {
    const { dataset, tool, cells } = this.#subject;
    cells.add({ dataset: dataset.name, tool: tool.name, phase }, measured, storedBytes);
    logMeasured(this.#options, `${tool.name} ${phase}`, measured);
  }
}

async function copy(options: CompareOptions, subject: Subject): Promise<void> {
  const { dataset, prepared, cells } = subject;
  if (!options.phases.includes("restore")) {
    return;
  }
  const target = join(options.directory, "turn");
  mkdirSync(target, { recursive: true });
  try {
    await settle();
    const args = ["-a", `${prepared.path}/.`, target];
    const measured = await measure({ file: "cp", args, env: { PATH: process.env["PATH"] ?? "" } });
    cells.add({ dataset: dataset.name, tool: CP, phase: "restore" }, measured, undefined);
    logMeasured(options, "cp -a", measured);
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}

/** The samples of each cell, in the order in which cells came. */
class Cells {
  readonly #cells: Map<string, { cell: Cell; measured: Measured[]; stored: number[] }> = new Map();

  add(cell: Cell, measured: Measured, storedBytes: number | undefined): void {
    const key = `${cell.dataset} ${cell.tool} ${cell.phase}`;
    const found = this.#cells.get(key) ?? { cell, measured: [], stored: [] };
    this.#cells.set(key, found);
    found.measured.push(measured);
    if (storedBytes !== undefined) {
      found.stored.push(storedBytes);
    }
  }

  measurements(): Measurement[] {
    return [...this.#cells.values()].map(({ cell, measured, stored }) => ({
      ...cell,
      seconds: summarize(measured.map(({ seconds }) => seconds)),
      peakBytes: summarize(measured.map(({ peakBytes }) => peakBytes)),
      ...(stored.length === 0 ? {} : { storedBytes: summarize(stored) }),
    }));
  }
}

type Cell = Pick<Measurement, "dataset" | "tool" | "phase">;

function logMeasured({ log }: CompareOptions, what: string, measured: Measured): void {
  const { seconds, peakBytes } = measured;
  log(`  ${what.padEnd(28)} ${seconds.toFixed(2)} s, ${Math.round(peakBytes / 1e6)} MB`);
}

/** Every tool is first once in as many runs as there are tools. */
function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % Math.max(1, items.length);
  return [...items.slice(start), ...items.slice(0, start)];
}

function readTree(directory: string): void {
  const buffer = new Uint8Array(1 << 20);
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) {
      const file = openSync(join(entry.parentPath, entry.name), "r");
      while (readSync(file, buffer) > 0);
      closeSync(file);
    }
  }
}

/** Results are published. */
function withoutPaths(message: string): string {
  return message.replace(/(?:\/[\w.@+-]+)+\/?/g, "…");
}
