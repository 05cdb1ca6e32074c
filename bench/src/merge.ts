import {
  type BenchResult,
  type Liveness,
  type Measurement,
  summarize,
  type Summary,
} from "./result.ts";

/**
 * One result of several: runs that took turns on one machine, split by data sets or tools. Runs of one cell are added up in the
 * order of the results; of what is measured once, the last stands. Throws when they are of other machines or sizes.
 */
export function mergeResults(results: readonly BenchResult[]): BenchResult {
  const [first] = results;
  if (first === undefined) {
    throw new Error("no results");
  }
  for (const { machine, scale } of results) {
    if (JSON.stringify(machine) !== JSON.stringify(first.machine) || scale !== first.scale) {
      throw new Error("results of different machines, or of data of different sizes");
    }
  }
  const measurements = mergeMeasurements(results.flatMap((result) => result.measurements));
  const measured = new Set(measurements.map(turnOf));
  const latency = results.flatMap((result) => result.latency ?? []);
  const suites = results.map((result) => new Set(result.primitives.map(({ suite }) => suite)));
  return {
    schema: 1,
    date:
      results
        .map(({ date }) => date)
        .sort()
        .at(-1) ?? first.date,
    scale: first.scale,
    runs: Math.max(...results.map(({ runs }) => runs)),
    machine: first.machine,
    versions: mergeVersions(results),
    commits: [...new Set(results.flatMap(({ commits }) => commits ?? []))],
    conditions: [...new Set(results.flatMap(({ conditions }) => conditions))],
    datasets: lastOf(
      results.flatMap(({ datasets }) => datasets),
      ({ name }) => name,
    ),
    tools: lastOf(
      results.flatMap(({ tools }) => tools),
      ({ name }) => name,
    ),
    measurements,
    failures: lastOf(
      results.flatMap(({ failures }) => failures),
      turnOf,
    ).filter((failure) => !measured.has(turnOf(failure))),
    primitives: results.flatMap(({ primitives }, index) =>
      primitives.filter(({ suite }) => !suites.slice(index + 1).some((later) => later.has(suite))),
    ),
    liveness: lastOf(
      results.flatMap(({ liveness }) => liveness),
      livenessKey,
    ),
    ...(latency.length === 0 ? {} : { latency }),
  };
}

function turnOf({ dataset, tool }: Pick<Measurement, "dataset" | "tool">): string {
  return `${dataset} ${tool}`;
}

function livenessKey({ dataset, workers, work }: Liveness): string {
  return `${dataset} ${workers} ${work ?? "backup"}`;
}

function mergeMeasurements(all: readonly Measurement[]): Measurement[] {
  const cells = new Map<string, Measurement>();
  for (const cell of all) {
    const key = `${turnOf(cell)} ${cell.phase}`;
    const before = cells.get(key);
    const stored = joined(before?.storedBytes, cell.storedBytes);
    cells.set(key, {
      ...cell,
      seconds: joined(before?.seconds, cell.seconds) ?? cell.seconds,
      peakBytes: joined(before?.peakBytes, cell.peakBytes) ?? cell.peakBytes,
      ...(stored === undefined ? {} : { storedBytes: stored }),
    });
  }
  return [...cells.values()];
}

function joined(before: Summary | undefined, after: Summary | undefined): Summary | undefined {
  const runs = [...(before?.runs ?? []), ...(after?.runs ?? [])];
  return runs.length === 0 ? undefined : summarize(runs);
}

function mergeVersions(results: readonly BenchResult[]): Record<string, string> {
  const versions = new Map<string, Set<string>>();
  for (const [program, version] of results.flatMap((result) => Object.entries(result.versions))) {
    versions.set(program, (versions.get(program) ?? new Set()).add(version));
  }
  return Object.fromEntries([...versions].map(([program, all]) => [program, [...all].join(", ")]));
}

/** The last of those with one key, where the first of them stands. */
function lastOf<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
