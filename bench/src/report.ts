import { latencySection } from "./latency-report.ts";
import { duration, megabytes, ratio, table } from "./report-table.ts";
import {
  type BenchResult,
  type DatasetResult,
  findMeasurement,
  type Measurement,
  type Phase,
  PHASES,
  type Primitive,
} from "./result.ts";

/** A result as Markdown: what the README shows. Pure; the charts are files beside it. */

export const PHASE_TITLES: Readonly<Record<Phase, string>> = {
  first: "first backup",
  unchanged: "unchanged",
  change: "small change",
  restore: "restore",
};

export interface ReportOptions {
  /** File name of the chart of a dataset, relative to the report; nothing for none. */
  readonly chart: (dataset: string) => string | undefined;
}

export function renderReport(result: BenchResult, options: ReportOptions): string {
  const sections = [
    heading(result),
    ...(result.measurements.length === 0
      ? []
      : result.datasets.map((dataset) => datasetSection(result, dataset, options))),
    ratioSection(result),
    latencySection(result),
    failureSection(result),
    livenessSection(result),
    primitiveSection(result.primitives),
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

function heading({ date, machine, conditions, ...result }: BenchResult): string {
  const { cpu, cores, memoryBytes, system, fileSystem = "a local disk", node } = machine;
  const tools = shownVersions(result);
  const { scale, datasets, measurements } = result;
  const ofCells = measurements.map(({ seconds }) => seconds.runs.length);
  const runs = ofCells.length > 0 ? Math.max(...ofCells) : result.runs;
  const shown = runs === 1 ? "one run" : `medians of up to ${runs} runs (least to most)`;
  return [
    `# Measured ${date}`,
    "",
    `${cpu}, ${cores} cores, ${gibibytes(memoryBytes)} GiB of memory, ${system}, ${fileSystem}, Node ${node}.`,
    ...(tools === "" ? [] : [`${tools}.`]),
    ...shownCommits(result),
    ...(datasets.length === 0 ? [] : [`Datasets at scale ${scale}; ${shown}.`]),
    ...(conditions.length === 0 ? [] : ["", ...conditions.map((condition) => `- ${condition}`)]),
  ].join("\n");
}

export function shownVersions({ versions }: Pick<BenchResult, "versions">): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
}

export function shownCommits({ commits = [] }: Pick<BenchResult, "commits">): string[] {
  return commits.length === 0 ? [] : [`varve is that of commit ${commits.join(", ")}.`];
}

/** What a tool's name does not say. */
function toolTitle(result: BenchResult, name: string): string {
  const title = result.tools.find((tool) => tool.name === name)?.title;
  return title === undefined ? name : `${name} (${title})`;
}

function datasetSection(
  result: BenchResult,
  dataset: DatasetResult,
  options: ReportOptions,
): string {
  const { name, title, changeTitle, files, bytes } = dataset;
  const rows = toolsOf(result, name).map((tool) => {
    const cells = PHASES.map((phase) => findMeasurement(result, { dataset: name, tool, phase }));
    return [toolTitle(result, tool), ...cells.map(cellText), ...storedTexts(cells)];
  });
  const chart = options.chart(name);
  const columns = [...PHASES.map((phase) => PHASE_TITLES[phase]), "stored MB", "added by change"];
  return [
    `## ${title}`,
    "",
    `${files.toLocaleString("en")} files, ${megabytes(bytes)} MB. Small change: ${changeTitle}.`,
    "",
    ...(chart === undefined ? [] : [`![${title}](${chart})`, ""]),
    table(["tool", ...columns], rows),
  ].join("\n");
}

/** Repository size after the first backup, and what the backup of the change added. */
function storedTexts(cells: readonly (Measurement | undefined)[]): string[] {
  const [first, unchanged, change] = cells.map((cell) => cell?.storedBytes?.median);
  const before = unchanged ?? first;
  return [
    first === undefined ? "" : megabytes(first),
    change === undefined || before === undefined ? "" : megabytes(change - before),
  ];
}

function cellText(cell: Measurement | undefined): string {
  if (cell === undefined) {
    return "";
  }
  const { seconds, peakBytes } = cell;
  const { median, min, max, runs } = seconds;
  const spread = runs.length > 1 ? ` (${duration(min)} to ${duration(max)})` : "";
  const memory = peakBytes.median > 0 ? `, ${megabytes(peakBytes.median)} MB` : "";
  return `${duration(median)} s${spread}${memory}`;
}

/** Which tool is compared with which: defaults with defaults, equal algorithms with equal algorithms. */
const PAIRS: readonly (readonly [string, readonly string[]])[] = [
  ["varve", ["kopia"]],
  ["varve-zstd", ["kopia-zstd"]],
  ["varve-same", ["kopia"]],
  ["varve-same-zstd", ["kopia-zstd"]],
  ["varve", ["restic"]],
  ["varve", ["rustic"]],
  ["varve", ["borg"]],
  ["varve", ["restic", "rustic", "borg"]],
  ["varve", ["cp"]],
];

/** Those of the README: with Kopia, with equal algorithms, and with the fastest of all others. */
export function isMainPair([tool, others]: (typeof PAIRS)[number]): boolean {
  return others.length > 1 || (others.join().startsWith("kopia") && tool !== "varve-zstd");
}

/** The cell with the least of `seconds` among those of several tools. */
function fastest(
  result: BenchResult,
  { dataset, tools, phase }: { dataset: string; tools: readonly string[]; phase: Phase },
): Measurement | undefined {
  return tools
    .flatMap((tool) => findMeasurement(result, { dataset, tool, phase }) ?? [])
    .sort((a, b) => a.seconds.median - b.seconds.median)[0];
}

/** A row for each data set and each pair that was measured; nothing when there is none. */
export function ratioTable(
  result: BenchResult,
  isShown: (pair: (typeof PAIRS)[number]) => boolean = () => true,
): string {
  const rows = result.datasets.flatMap(({ name }) =>
    PAIRS.filter(isShown).flatMap(([tool, others]) => {
      const measured = others.filter((other) => toolsOf(result, name).includes(other));
      if (others.length > 1 && measured.length === 0) {
        return [];
      }
      const cells = PHASES.map((phase) => ({
        mine: findMeasurement(result, { dataset: name, tool, phase }),
        theirs: fastest(result, { dataset: name, tools: others, phase }),
      }));
      const times = cells.map(({ mine, theirs }) =>
        ratio(mine?.seconds.median, theirs?.seconds.median),
      );
      if (times.every((text) => text === "")) {
        return [];
      }
      if (others.length > 1) {
        return [[name, `${tool} / fastest of ${measured.join(", ")}`, ...times, "", ""]]; // not one tool
      }
      const peak = (side: "mine" | "theirs"): number =>
        Math.max(0, ...cells.map((cell) => cell[side]?.peakBytes.median ?? 0));
      const [first] = cells;
      const stored = ratio(first?.mine?.storedBytes?.median, first?.theirs?.storedBytes?.median);
      const memory = stored === "" ? "" : ratio(peak("mine"), peak("theirs")); // cp has no memory to speak of
      return [[name, `${tool} / ${others.join()}`, ...times, memory, stored]];
    }),
  );
  if (rows.length === 0) {
    return "";
  }
  const columns = [...PHASES.map((phase) => PHASE_TITLES[phase]), "peak memory", "stored"];
  return table(["data", "tools", ...columns], rows);
}

function ratioSection(result: BenchResult): string {
  const ratios = ratioTable(result);
  const note =
    "Of medians; below 1 is better for the first of the two. Peak memory is the highest of the columns.";
  return ratios === "" ? "" : ["## Ratios", "", note, "", ratios].join("\n");
}

function failureSection({ failures }: BenchResult): string {
  const lines = failures.map(
    ({ dataset, tool, message }) => `- ${tool} on ${dataset}: ${message.replaceAll("\n", " ")}`,
  );
  return lines.length === 0 ? "" : ["## What failed", "", ...lines].join("\n");
}

function livenessSection(result: BenchResult): string {
  const late = livenessTable(result);
  const note = "How late it is in a program that works through the library, in milliseconds.";
  return late === "" ? "" : ["## The event loop", "", note, "", late].join("\n");
}

/** Nothing when it was not measured. */
export function livenessTable({ liveness }: BenchResult): string {
  const rows = liveness.map(({ dataset, work, workers, medianMs, p99Ms, maxMs }) => [
    dataset,
    work ?? "first backup",
    workers === 0 ? "inline" : `${workers} workers`,
    ...[medianMs, p99Ms, maxMs].map((ms) => ms.toFixed(1)),
  ]);
  return rows.length === 0 ? "" : table(["data", "work", "where", "median", "p99", "most"], rows);
}

function primitiveSection(primitives: readonly Primitive[]): string {
  if (primitives.length === 0) {
    return "";
  }
  const rows = primitives.map(({ suite, name, medianMs, minMs, maxMs, samples, ...work }) => [
    suite,
    name,
    medianMs < 1 ? `${significant(medianMs * 1000)} µs` : `${significant(medianMs)} ms`,
    rate(work, medianMs),
    rate(work, minMs),
    rate(work, maxMs),
    String(samples),
  ]);
  return [
    "## Primitives and layers",
    "",
    table(["suite", "task", "one call", "median", "fastest", "slowest", "calls"], rows),
  ].join("\n");
}

function rate({ unit, amount }: Pick<Primitive, "unit" | "amount">, ms: number): string {
  const perSecond = (amount / Math.max(ms, 1e-6)) * 1000;
  return unit === "bytes" ? `${significant(perSecond / 1e6)} MB/s` : `${significant(perSecond)} /s`;
}

/** Names of what was measured on a dataset, the tools in their own order, others after them. */
export function toolsOf(result: BenchResult, dataset: string): readonly string[] {
  const measured = new Set(
    result.measurements.filter((cell) => cell.dataset === dataset).map(({ tool }) => tool),
  );
  const order = result.tools.map(({ name }) => name);
  return [...order.filter((name) => measured.delete(name)), ...measured];
}

function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(0);
}

function significant(value: number): string {
  return value >= 100
    ? Math.round(value).toLocaleString("en")
    : String(Number(value.toPrecision(3)));
}
