import { expect, test } from "vitest";
import { renderChart } from "./chart.ts";
import { mergeResults } from "./merge.ts";
import { MARKS, readmeSection, replaceSection } from "./readme.ts";
import { renderReport } from "./report.ts";
import {
  type BenchResult,
  findMeasurement,
  type Measurement,
  type Phase,
  summarize,
} from "./result.ts";

function cell(
  tool: string,
  phase: Phase,
  seconds: readonly number[],
  stored?: number,
): Measurement {
  return {
    dataset: "image",
    tool,
    phase,
    seconds: summarize(seconds),
    peakBytes: summarize([tool === "cp" ? 0 : 150e6]),
    ...(stored === undefined ? {} : { storedBytes: summarize([stored]) }),
  };
}

const IMAGE = {
  name: "image",
  title: "a <disk> image",
  changeTitle: "some blocks",
  files: 1,
  bytes: 2e9,
};

const RESULT: BenchResult = {
  schema: 1,
  date: "2026-01-02",
  scale: 1,
  runs: 3,
  machine: { cpu: "A CPU", cores: 2, memoryBytes: 8 * 2 ** 30, system: "linux 6", node: "20.19.0" },
  versions: { varve: "0.1.0", kopia: "0.22.3" },
  conditions: ["Caches are warm."],
  datasets: [IMAGE],
  tools: [
    { name: "varve", title: "defaults" },
    { name: "kopia", title: "no compression" },
    { name: "cp", title: "cp -a" },
  ],
  measurements: [
    cell("kopia", "first", [14, 12, 13], 2000e6),
    cell("varve", "first", [6.5, 6, 9], 1000e6),
    cell("varve", "change", [1], 1002.5e6),
    cell("varve", "restore", [3]),
    cell("kopia", "restore", [12]),
    cell("cp", "restore", [2]),
  ],
  failures: [{ dataset: "image", tool: "borg", message: "exit 2:\nno space" }],
  liveness: [
    { dataset: "image", work: "restore", workers: 0, medianMs: 1, p99Ms: 33.25, maxMs: 40 },
  ],
  primitives: [
    {
      suite: "hash",
      name: "BLAKE3, 4 MiB",
      unit: "bytes",
      amount: 4e6,
      medianMs: 2,
      minMs: 1,
      maxMs: 4,
      samples: 9,
    },
  ],
};

test("the median of an even count lies between the two in the middle", () => {
  expect(summarize([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4, runs: [4, 1, 3, 2] });
  expect(summarize([5]).median).toBe(5);
});

test("a report has a row for each tool in their order, ratios of medians, and what failed", () => {
  const lines = renderReport(RESULT, { chart: () => "image.svg" }).split("\n");
  const rows = lines.filter((line) => line.startsWith("| "));
  expect(rows).toContain(
    "| varve (defaults) | 6.50 s (6.00 to 9.00), 150 MB |  | 1.00 s, 150 MB | 3.00 s, 150 MB | 1000 | 2.5 |",
  );
  expect(rows).toContain(
    "| kopia (no compression) | 13.0 s (12.0 to 14.0), 150 MB |  |  | 12.0 s, 150 MB | 2000 |  |",
  );
  expect(rows).toContain("| cp (cp -a) |  |  |  | 2.00 s |  |  |");
  expect(rows).toContain("| image | varve / kopia | 0.50 |  |  | 0.25 | 1.00 | 0.50 |");
  expect(rows).toContain("| image | varve / cp |  |  |  | 1.50 |  |  |");
  expect(rows).toContain(
    "| hash | BLAKE3, 4 MiB | 2 ms | 2,000 MB/s | 4,000 MB/s | 1,000 MB/s | 9 |",
  );
  expect(rows).toContain("| image | restore | inline | 1.0 | 33.3 | 40.0 |");
  expect(lines).toContain("- borg on image: exit 2: no space");
  expect(lines).toContain("![a <disk> image](image.svg)");
  expect(lines).toContain("- Caches are warm.");
});

test("the fastest of the others is another one in each column", () => {
  const others = [
    cell("restic", "first", [5]),
    cell("borg", "first", [13]),
    cell("borg", "restore", [1.5]),
  ];
  const result = { ...RESULT, measurements: [...RESULT.measurements, ...others] };
  const rows = renderReport(result, { chart: () => undefined }).split("\n");
  expect(rows).toContain("| image | varve / fastest of restic, borg | 1.30 |  |  | 2.00 |  |  |");
});

test("results of one machine become one: runs add up, what is measured once is the last", () => {
  const more: BenchResult = {
    ...RESULT,
    commits: ["abc"],
    versions: { restic: "0.18" },
    measurements: [cell("varve", "first", [7]), cell("borg", "first", [20])],
    liveness: [{ dataset: "image", work: "restore", workers: 0, medianMs: 2, p99Ms: 3, maxMs: 4 }],
  };
  const merged = mergeResults([RESULT, more]);
  const of = { dataset: "image", tool: "varve", phase: "first" } as const;
  expect(findMeasurement(merged, of)?.seconds).toEqual(summarize([6.5, 6, 9, 7]));
  expect(merged.failures).toEqual([]); // borg had its turn later
  expect(merged.versions).toEqual({ ...RESULT.versions, restic: "0.18" });
  expect(merged.commits).toEqual(["abc"]);
  expect(merged.liveness).toEqual(more.liveness);
  expect(merged.primitives).toEqual(RESULT.primitives);
  expect(mergeResults([RESULT])).toEqual({ ...RESULT, commits: [] });
});

test("results of another machine or of other sizes are not added up", () => {
  expect(() => mergeResults([RESULT, { ...RESULT, scale: 0.5 }])).toThrow("different");
  const machine = { ...RESULT.machine, cores: 4 };
  expect(() => mergeResults([RESULT, { ...RESULT, machine }])).toThrow("different");
});

test("the README shows medians, what the change added, and charts, between its marks alone", () => {
  const options = { chart: (name: string) => `r/${name}.svg`, report: "r/all.md" };
  const section = readmeSection(RESULT, options);
  expect(section.split("\n")).toContain(
    "| a <disk> image | 6.50 / 13.0 | – / – | 1.00 / – | 3.00 / 12.0 | 2.00 | 150 / 150 | 1000 / 2000 | 2.5 / – |",
  );
  expect(section).toContain("Medians of 1 to 3 interleaved runs on 2026-01-02");
  expect(section).toContain("![a <disk> image](r/image.svg)");
  const readme = replaceSection(replaceSection(`before\n${MARKS}\nafter`, "old"), section);
  expect(readme.startsWith("before\n<!--")).toBe(true);
  expect(readme.endsWith("-->\nafter")).toBe(true);
  expect(readme).toContain(`\n\n${section}\n\n`);
  expect(readme).not.toContain("old");
  expect(() => replaceSection("no marks", section)).toThrow("no place for the figures");
});

test("a result without a comparison has no table of one", () => {
  const empty = { ...RESULT, datasets: [], measurements: [], failures: [], conditions: [] };
  const report = renderReport(empty, { chart: () => undefined });
  expect(report).toContain("## Primitives and layers");
  expect(report).not.toContain("## Ratios");
  expect(report).not.toContain("## What failed");
});

test("the bars of a panel are as long as their values, and names are escaped", () => {
  const svg = renderChart(RESULT, IMAGE);
  const first = svg.split("<g ").find((panel) => panel.includes(">first backup<")) ?? "";
  const widths = [...first.matchAll(/<rect[^>]* width="(\d+)"/g)].map(([, width]) => Number(width));
  const [varve = 0, kopia = 0, cp] = widths;
  expect(kopia).toBe(varve * 2);
  expect(cp).toBe(0);
  expect(svg).toContain("a &lt;disk> image");
  // nothing was measured unchanged
  expect(svg).not.toContain(">unchanged<");
  expect(svg.match(/<g /g)?.length).toBe(svg.match(/<\/g>/g)?.length);
});
