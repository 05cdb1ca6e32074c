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
import type { Phase } from "./result.ts";
import { type Comparison, type Sample, Tally } from "./tally.ts";
import { TimeLeft } from "./time-left.ts";
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
  /** What an earlier call with the same scale has measured: its runs are not made again. */
  readonly earlier: Comparison;
  /** Called after each turn with all that is measured by then. */
  readonly save: (comparison: Comparison) => void;
  readonly log: (line: string) => void;
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
  const { datasets, scale, directory, log, earlier } = options;
  const tally = new Tally(earlier);
  const time = new TimeLeft(plannedTurns(options, tally));
  log(`${time.text()} at full size`);
  for (const dataset of datasets) {
    log(`${dataset.name}: ${dataset.title}, scale ${scale}`);
    const prepared = prepareDataset(dataset, join(directory, "data"), scale);
    tally.describe(dataset, prepared);
    for (const name of turnsOf(dataset, options, tally)) {
      const started = process.hrtime.bigint();
      await takeTurn(name, { dataset, prepared, tally }, options);
      options.save(tally.comparison());
      time.passed(dataset.name, Number(process.hrtime.bigint() - started) / 1e9);
      log(`  ${time.text()}`);
    }
  }
  return tally.comparison();
}

/** The turns that a dataset still wants: in each run each tool and at last `cp`, the tools in another order each run. */
function turnsOf(
  { name: dataset }: Dataset,
  { tools, runs, phases }: CompareOptions,
  tally: Tally,
): readonly string[] {
  const names = tools.map(({ name }) => name);
  const turns: string[] = [];
  for (let run = 0; run < runs; run++) {
    const inRun = [...rotated(names, run), ...(phases.includes("restore") ? [CP] : [])];
    turns.push(...inRun.filter((tool) => tally.runsOf(dataset, tool) <= run));
  }
  return turns;
}

function plannedTurns(options: CompareOptions, tally: Tally): ReadonlyMap<string, number> {
  return new Map(
    options.datasets.map((dataset) => [dataset.name, turnsOf(dataset, options, tally).length]),
  );
}

async function takeTurn(name: string, place: TurnPlace, options: CompareOptions): Promise<void> {
  const { dataset, prepared, tally } = place;
  const tool = options.tools.find((candidate) => candidate.name === name);
  const taken: Sample[] = [];
  if (tool === undefined) {
    await copy(options, { prepared, taken });
    tally.add({ dataset: dataset.name, tool: CP }, taken);
    return;
  }
  const turn = new Turn(options, { dataset, prepared, tool, taken });
  try {
    await turn.run();
    tally.add({ dataset: dataset.name, tool: name }, taken);
  } catch (error) {
    const message = withoutPaths(error instanceof Error ? error.message : String(error));
    tally.fail({ dataset: dataset.name, tool: name, message });
    options.log(`  ${name} failed: ${message}`);
  } finally {
    turn.clean();
  }
}

interface TurnPlace {
  readonly dataset: Dataset;
  readonly prepared: PreparedDataset;
  readonly tally: Tally;
}

interface Subject {
  readonly dataset: Dataset;
  readonly prepared: PreparedDataset;
  readonly tool: Tool;
  /** Where the turn puts what it measures: nothing of a turn that fails is kept. */
  readonly taken: Sample[];
}

/** One tool, one dataset, one run. */
class Turn {
  readonly #options: CompareOptions;
  readonly #subject: Subject;
  readonly #directory: string;
  readonly #place: Place;
  readonly #program: FoundProgram;

  constructor(options: CompareOptions, subject: Subject) {
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
    requireWhole(sizeOfTree(prepared.path), target);
    this.#record("restore", measured, undefined);
  }

  #record(phase: Phase, measured: Measured, storedBytes: number | undefined): void {
    const { tool, taken } = this.#subject;
    taken.push({ phase, measured, storedBytes });
    logMeasured(this.#options, `${tool.name} ${phase}`, measured);
  }
}

async function copy(
  options: CompareOptions,
  { prepared, taken }: Pick<Subject, "prepared" | "taken">,
): Promise<void> {
  const target = join(options.directory, "turn");
  mkdirSync(target, { recursive: true });
  try {
    await settle();
    const args = ["-a", `${prepared.path}/.`, target];
    const measured = await measure({ file: "cp", args, env: { PATH: process.env["PATH"] ?? "" } });
    taken.push({ phase: "restore", measured, storedBytes: undefined });
    logMeasured(options, "cp -a", measured);
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}

/** Throws when `target` has not as many files and bytes as were backed up. */
export function requireWhole(
  want: { readonly files: number; readonly bytes: number },
  target: string,
): void {
  const got = sizeOfTree(target);
  if (want.files !== got.files || want.bytes !== got.bytes) {
    throw new Error(
      `restored ${got.files} files, ${got.bytes} bytes of ${want.files} files, ${want.bytes} bytes`,
    );
  }
}

export function logMeasured(
  { log }: Pick<CompareOptions, "log">,
  what: string,
  measured: Measured,
): void {
  const { seconds, peakBytes } = measured;
  log(`  ${what.padEnd(32)} ${seconds.toFixed(2)} s, ${Math.round(peakBytes / 1e6)} MB`);
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
