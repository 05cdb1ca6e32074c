import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compare, CONDITIONS, CP } from "./compare.ts";
import { type Dataset, DATASETS } from "./datasets.ts";
import { LATENCY_CONDITIONS, LATENCY_DATASETS, measureLatency } from "./latency.ts";
import { type LayerOptions, measureLayers } from "./layers.ts";
import { measureLiveness } from "./liveness.ts";
import { measurePrimitives } from "./primitives.ts";
import { report, resultIn, saveResult, writeReport } from "./report-command.ts";
import { type BenchResult, currentCommits, describeMachine, PHASES } from "./result.ts";
import { type Comparison, NOTHING } from "./tally.ts";
import { findPrograms, TOOLS } from "./tools.ts";

const QUICK_SCALE = 0.01;
const QUICK_LATENCY_SCALE = 0.25; // of the one large file

const HELP = `npm run bench -- [command] [options]

  (none)          primitives, layers, and the comparison with other tools
  primitives      splitters, hashes, codecs, ciphers, key derivation
  layers          index, directories, upload and restore
  liveness        how late the event loop of an embedding program is during backups, a restore, a verification
  compare         varve, kopia, restic, rustic, borg on the same data
  memory          peak memory of varve backing up one large file and many small ones
  latency         varve and kopia with a bucket near and behind 50 ms; needs the Go toolchain
  report <json…>  the Markdown and the charts of a result once more; of several results as one

  --full              data of full size, five runs; results go to bench/results. What the file of the day
                      already holds is kept, so that a run can be split by --datasets, --tools and --runs
  --scale <n>         size of the data; 1 is full size (${QUICK_SCALE})
  --runs <n>          of the comparison (1)
  --readme            with report: rewrites what the README shows of it
  --datasets <a,b>    of ${DATASETS.map(({ name }) => name).join(", ")}
  --tools <a,b>       of ${TOOLS.map(({ name }) => name).join(", ")};
                      without variants unless --full or named
  --latencies <a,b>   of the latency bench, in ms (0,50)
  --index <n>         contents in the index of the layers (100000; 10 million with --full)
  --date <date>       in the names of the results (today)
  --out <folder>      where results go
  --work <folder>     where data and repositories go (in the system's folder for temporary files)

Programs are looked for on the PATH, or as VARVE_BENCH_KOPIA=/path/to/kopia and so on.
`;

const COMMANDS = [
  ...["all", "primitives", "layers", "liveness", "compare", "memory", "latency", "report"],
];

interface Settings {
  readonly full: boolean;
  readonly scale: number;
  readonly runs: number;
  readonly timeMs: number;
  readonly latenciesMs: readonly number[];
  readonly indexContents: number;
  readonly datasets: typeof DATASETS;
  readonly tools: typeof TOOLS;
  readonly date: string;
  readonly out: string;
  readonly work: string;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      full: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
      scale: { type: "string" },
      readme: { type: "boolean", default: false },
      runs: { type: "string" },
      datasets: { type: "string" },
      tools: { type: "string" },
      latencies: { type: "string", default: "0,50" },
      index: { type: "string" },
      date: { type: "string" },
      out: { type: "string" },
      work: { type: "string" },
    },
  });
  const [command = "all", ...files] = positionals;
  const takesFiles = command === "report";
  if (values.help || !COMMANDS.includes(command) || takesFiles !== files.length > 0) {
    process.stdout.write(HELP);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  if (takesFiles) {
    report(files, values);
    return;
  }
  const { full } = values;
  const work = values.work ?? join(tmpdir(), "varve-bench");
  // The memory contract is one of real sizes, whatever else is quick.
  const quick = command === "latency" ? QUICK_LATENCY_SCALE : QUICK_SCALE;
  const size = full || command === "memory" ? 1 : quick;
  const settings: Settings = {
    full,
    scale: positive(values.scale, size),
    runs: positive(values.runs, full ? 5 : 1),
    timeMs: full ? 1000 : 40,
    latenciesMs: values.latencies.split(",").map(Number),
    indexContents: positive(values.index, full ? 10_000_000 : 100_000),
    datasets: chosen(DATASETS, values.datasets, "dataset"),
    tools: chosen(
      full || values.tools !== undefined ? TOOLS : TOOLS.filter(({ variant }) => variant !== true),
      values.tools,
      "tool",
    ),
    date: values.date ?? new Date().toISOString().slice(0, 10),
    out: values.out ?? (full ? RESULTS : join(work, "results")),
    work,
  };
  mkdirSync(settings.work, { recursive: true });
  const measured = command === "latency" ? measureFar(settings) : measureAll(command, settings);
  const result = await measured;
  const file = resultFile(settings, command);
  save(file, result);
  writeReport(file, result);
}

function save(file: string, result: BenchResult): void {
  mkdirSync(dirname(file), { recursive: true });
  saveResult(file, result);
}

/** What the result file of this day already holds; a quick run, another scale or another machine starts anew. */
function earlierResult(settings: Settings, command: string): BenchResult | undefined {
  const earlier = settings.full ? resultIn(resultFile(settings, command)) : undefined;
  const machine = JSON.stringify(describeMachine(settings.work));
  const isOfHere = JSON.stringify(earlier?.machine) === machine;
  return isOfHere && earlier?.scale === settings.scale ? earlier : undefined;
}

function resultName({ date }: Settings, command: string): string {
  // They have runs that others lack.
  return command === "memory" || command === "latency" ? `${date}-${command}` : date;
}

function resultFile(settings: Settings, command: string): string {
  return join(settings.out, `${resultName(settings, command)}.json`);
}

const RESULTS = fileURLToPath(new URL("../results", import.meta.url));

async function measureAll(command: string, settings: Settings): Promise<BenchResult> {
  const { date, scale, runs, work: directory, timeMs } = settings;
  const wants = (part: string): boolean => command === "all" || command === part;
  const memory = command === "memory";
  const compared = wants("compare") || memory;
  const programs = compared ? findPrograms() : new Map();
  const tools = settings.tools.filter(
    ({ name, program }) => programs.has(program) && (!memory || name === "varve"),
  );
  const earlier = earlierResult(settings, command);
  const versions = Object.fromEntries([...programs].map(([name, { version }]) => [name, version]));
  const primitives = [
    ...(wants("primitives") ? await measurePrimitives({ timeMs, log }) : []),
    ...(wants("layers") ? await measureLayers(layerOptions(settings)) : []),
  ];
  const liveness = wants("liveness")
    ? await measureLiveness(layerOptions(settings))
    : (earlier?.liveness ?? []);
  const suites = new Set(primitives.map(({ suite }) => suite));
  const kept = earlier?.primitives.filter(({ suite }) => !suites.has(suite)) ?? [];
  const result = (comparison: Comparison): BenchResult => ({
    schema: 1,
    date,
    scale,
    runs,
    machine: describeMachine(directory),
    versions: { ...earlier?.versions, ...versions },
    commits: [...new Set([...(earlier?.commits ?? []), ...currentCommits()])],
    conditions: comparison.measurements.length > 0 ? CONDITIONS : [],
    tools: [...TOOLS.map(({ name, title }) => ({ name, title })), { name: CP, title: "cp -a" }],
    datasets: comparison.datasets,
    measurements: comparison.measurements,
    failures: comparison.failures,
    primitives: [...kept, ...primitives],
    liveness,
  });
  if (!compared) {
    return result(earlier ?? NOTHING);
  }
  return result(
    await compare({
      datasets: memory ? settings.datasets.filter(isImageOrTiny) : settings.datasets,
      tools,
      programs,
      runs,
      scale,
      directory,
      log,
      phases: memory ? ["first"] : PHASES,
      earlier: earlier ?? NOTHING,
      save: (comparison) => save(resultFile(settings, command), result(comparison)),
    }),
  );
}

async function measureFar(settings: Settings): Promise<BenchResult> {
  const { date, scale, runs, latenciesMs, work: directory } = settings;
  const programs = findPrograms();
  const tools = settings.tools.filter(({ program }) => programs.has(program));
  const names = new Set(settings.datasets.map(({ name }) => name));
  const datasets = LATENCY_DATASETS.filter(({ name }) => names.has(name));
  const earlier = earlierResult(settings, "latency");
  const result = await measureLatency({
    ...{ datasets, tools, programs, runs, latenciesMs, scale, directory, log },
  });
  const again = new Set(result.datasets.map(({ name }) => name));
  const kept = earlier?.datasets.filter(({ name }) => !again.has(name)) ?? [];
  return {
    schema: 1,
    ...{ date, scale, runs },
    machine: describeMachine(directory),
    versions: Object.fromEntries([...programs].map(([name, { version }]) => [name, version])),
    commits: currentCommits(),
    conditions: LATENCY_CONDITIONS,
    tools: TOOLS.map(({ name, title }) => ({ name, title })),
    datasets: [...kept, ...result.datasets],
    ...{ measurements: [], failures: [], primitives: [], liveness: [] },
    latency: [...(earlier?.latency ?? []), ...result.samples],
  };
}

function layerOptions(settings: Settings): LayerOptions {
  const { datasets, scale, work: directory } = settings;
  return {
    ...settings,
    // Two say most when it must be quick.
    datasets: scale < 0.1 ? datasets.filter(isImageOrTiny) : datasets,
    scale: scale / 3,
    directory,
    log,
  };
}

function isImageOrTiny({ name }: Dataset): boolean {
  return name === "image" || name === "tiny";
}

function chosen<T extends { readonly name: string }>(
  all: readonly T[],
  names: string | undefined,
  what: string,
): readonly T[] {
  if (names === undefined) {
    return all;
  }
  return names.split(",").map((name) => {
    const found = all.find((item) => item.name === name);
    if (found === undefined) {
      throw new Error(`no ${what} ${name}: ${all.map((item) => item.name).join(", ")}`);
    }
    return found;
  });
}

function positive(text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) {
    throw new Error(`not a positive number: ${text}`);
  }
  return value;
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

await main();
