import { duration, megabytes, ratio, table } from "./report-table.ts";
import {
  type BenchResult,
  LATENCY_PHASES,
  type LatencyPhase,
  type LatencySample,
  summarize,
  type Summary,
} from "./result.ts";

/** What a latency costs each tool, as Markdown; medians, with least and most where there are several runs. */
export function latencySection({ datasets, tools, latency = [] }: BenchResult): string {
  if (latency.length === 0) {
    return "";
  }
  const latencies = distinct(latency.map(({ latencyMs }) => latencyMs)).sort((a, b) => a - b);
  const [near = 0] = latencies;
  const names = tools
    .map(({ name }) => name)
    .filter((name) => latency.some(({ tool }) => tool === name));
  const rows: string[][] = [];
  const ratios: string[][] = [];
  for (const { name, files, bytes } of datasets) {
    const data = `${name}: ${files.toLocaleString("en")} files, ${megabytes(bytes)} MB`;
    for (const phase of LATENCY_PHASES) {
      const cells = (tool: string): (Cell | undefined)[] =>
        latencies.map((latencyMs) => cellOf(latency, { dataset: name, tool, latencyMs, phase }));
      for (const tool of names) {
        rows.push([data, PHASE_NAMES[phase], tool, ...cells(tool).map(cellText)]);
      }
      const [mine, theirs] = [cells("varve"), cells("kopia")];
      const own = mine[latencies.indexOf(near)]?.seconds.median;
      ratios.push([
        name,
        PHASE_NAMES[phase],
        ...mine.map((cell) => ratio(cell?.seconds.median, own)),
        ...mine.map((cell, index) => ratio(theirs[index]?.seconds.median, cell?.seconds.median)),
      ]);
    }
  }
  const columns = latencies.map((ms) => `${ms} ms`);
  return [
    "## Behind a latency",
    "",
    "Seconds, requests, and how many of them waited for an answer at once.",
    "",
    table(["data", "command", "tool", ...columns], rows),
    "",
    `How many times as long as behind ${near} ms it takes varve, and how many times as long it takes Kopia as varve.`,
    "",
    table(
      [
        ...["data", "command"],
        ...columns.map((column) => `varve ${column} / ${near} ms`),
        ...columns.map((column) => `kopia / varve, ${column}`),
      ],
      ratios,
    ),
  ].join("\n");
}

const PHASE_NAMES: Readonly<Record<LatencyPhase, string>> = {
  first: "first backup",
  restore: "restore",
};

interface Cell {
  readonly seconds: Summary;
  readonly requests: number;
  readonly mostAtOnce: number;
}

function cellOf(
  samples: readonly LatencySample[],
  key: Pick<LatencySample, "dataset" | "tool" | "latencyMs" | "phase">,
): Cell | undefined {
  const found = samples.filter(
    ({ dataset, tool, latencyMs, phase }) =>
      dataset === key.dataset &&
      tool === key.tool &&
      latencyMs === key.latencyMs &&
      phase === key.phase,
  );
  return found.length === 0
    ? undefined
    : {
        seconds: summarize(found.map(({ seconds }) => seconds)),
        requests: summarize(found.map(({ requests }) => requests)).median,
        mostAtOnce: Math.max(...found.map(({ mostAtOnce }) => mostAtOnce)),
      };
}

function cellText(cell: Cell | undefined): string {
  if (cell === undefined) {
    return "";
  }
  const { median, min, max, runs } = cell.seconds;
  const spread = runs.length > 1 ? ` (${duration(min)} to ${duration(max)})` : "";
  return `${duration(median)} s${spread}, ${cell.requests} requests, ${cell.mostAtOnce} at once`;
}

function distinct(values: readonly number[]): number[] {
  return [...new Set(values)];
}
