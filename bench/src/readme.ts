import { isMainPair, livenessTable, ratioTable, shownCommits, shownVersions } from "./report.ts";
import { duration, megabytes, table } from "./report-table.ts";
import {
  type BenchResult,
  type DatasetResult,
  findMeasurement,
  measuredDatasets,
  type Phase,
  PHASES,
} from "./result.ts";

/** The part of the README that says how fast it is: made from a result, so that nobody types a number. */

const BEGIN =
  "<!-- written by `npm run bench -- report --readme FILE…`: change nothing by hand -->";
const END = "<!-- end of what is written by the bench -->";
/** What a README without figures has. */
export const MARKS: string = `${BEGIN}\n\n${END}`;

/** `readme` with what stands between the marks replaced. Throws when they are not there. */
export function replaceSection(readme: string, section: string): string {
  const begin = readme.indexOf(BEGIN);
  const end = readme.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error(`no place for the figures: it is between ${BEGIN} and ${END}`);
  }
  return `${readme.slice(0, begin + BEGIN.length)}\n\n${section}\n\n${readme.slice(end)}`;
}

/** `chart` and `report` are paths as seen from the README. */
export function readmeSection(
  result: BenchResult,
  { chart, report }: { readonly chart: (dataset: string) => string; readonly report: string },
): string {
  const { machine } = result;
  const counts = result.measurements.map(({ seconds }) => seconds.runs.length);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  const runs = fewest === most ? `${most}` : `${fewest} to ${most}`;
  const tools = shownVersions(result);
  const measured = measuredDatasets(result);
  return [
    `Medians of ${runs} interleaved runs on ${result.date}: ${machine.cores} cores, ${Math.round(machine.memoryBytes / 2 ** 30)} GiB of memory, ${machine.system}, ${machine.fileSystem ?? "a local disk"}, Node ${machine.node}; ${tools}. ${shownCommits(result).join("")} Seconds of the whole process and MB, varve / Kopia, both with their defaults. All of it, with least and most: [${report}](${report}).`,
    table(
      [...COLUMNS],
      measured.map((dataset) => timesRow(result, dataset)),
    ),
    "Ratios of medians, below 1 is better for varve; `same` has Kopia's hash and splitter; the fastest is another one in each column.",
    ratioTable(result, isMainPair),
    measured.map(({ name, title }) => `![${title}](${chart(name)})`).join("\n"),
    livenessTable(result) &&
      "How late the event loop is in a program that works through the library, in milliseconds:",
    livenessTable(result),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

const COLUMNS = [
  ...["data", "first backup", "unchanged", "small change", "restore", "`cp -a`"],
  ...["peak memory MB", "stored MB", "added by the change MB"],
] as const;

function timesRow(result: BenchResult, dataset: DatasetResult): string[] {
  const seconds = (tool: string, phase: Phase): string => {
    const cell = findMeasurement(result, { dataset: dataset.name, tool, phase });
    return cell === undefined ? "–" : duration(cell.seconds.median);
  };
  const both = (text: (tool: string) => string): string => `${text("varve")} / ${text("kopia")}`;
  const bytes = (tool: string, phase: Phase): number | undefined =>
    findMeasurement(result, { dataset: dataset.name, tool, phase })?.storedBytes?.median;
  const peak = (tool: string): string => {
    const cells = PHASES.map((phase) =>
      findMeasurement(result, { dataset: dataset.name, tool, phase }),
    );
    const most = Math.max(0, ...cells.map((cell) => cell?.peakBytes.median ?? 0));
    return most === 0 ? "–" : megabytes(most);
  };
  const added = (tool: string): string => {
    const [before, after] = [
      bytes(tool, "unchanged") ?? bytes(tool, "first"),
      bytes(tool, "change"),
    ];
    return before === undefined || after === undefined ? "–" : megabytes(after - before);
  };
  return [
    dataset.title,
    ...PHASES.map((phase) => both((tool) => seconds(tool, phase))),
    seconds("cp", "restore"),
    both(peak),
    both((tool) => megabytesOrNone(bytes(tool, "first"))),
    both(added),
  ];
}

function megabytesOrNone(bytes: number | undefined): string {
  return bytes === undefined ? "–" : megabytes(bytes);
}
