import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { renderChart } from "./chart.ts";
import { mergeResults } from "./merge.ts";
import { readmeSection, replaceSection } from "./readme.ts";
import { renderReport } from "./report.ts";
import { type BenchResult, measuredDatasets } from "./result.ts";

/** Results as files: the JSON itself, the Markdown and the charts beside it, and what the README shows of them. */

/** Replaces the file in one step: who stops the bench keeps every turn that was finished. */
export function saveResult(file: string, result: BenchResult): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(result, undefined, 2)}\n`);
  renameSync(`${file}.new`, file);
}

export function readResult(file: string): BenchResult {
  const result = JSON.parse(readFileSync(file, "utf8")) as BenchResult; // what saveResult wrote
  if (result.schema !== 1) {
    throw new Error(`${file} is no result of this bench`);
  }
  return result;
}

/** Writes the Markdown and the charts beside a result. */
export function writeReport(file: string, result: BenchResult): void {
  const [directory, name] = [dirname(file), basename(file, ".json")];
  for (const dataset of measuredDatasets(result)) {
    writeFileSync(join(directory, chartName(name, dataset.name)), renderChart(result, dataset));
  }
  const report = renderReport(result, { chart: (dataset) => chartName(name, dataset) });
  const reportFile = join(directory, `${name}.md`);
  writeFileSync(reportFile, report);
  process.stdout.write(`${report}\n${reportFile}\n`);
}

/** Of one result, or of several as one, which is kept beside the first of them. `readme`: the README shows it, too. */
export function report(files: readonly string[], { readme }: { readonly readme: boolean }): void {
  const paths = [...new Set(files.map((file) => resolve(file)))];
  const [first = ""] = paths;
  const result = mergeResults(paths.map((path) => readResult(path)));
  let file = first;
  if (paths.length > 1) {
    file = join(dirname(first), `${result.date}-merged.json`);
    if (paths.includes(file)) {
      throw new Error(`${file} would be its own part`);
    }
    saveResult(file, result);
  }
  writeReport(file, result);
  if (readme) {
    writeReadme(file, result);
  }
}

const README = fileURLToPath(new URL("../../README.md", import.meta.url));

function writeReadme(file: string, result: BenchResult): void {
  const [directory, name] = [dirname(file), basename(file, ".json")];
  const fromReadme = (beside: string): string => relative(dirname(README), join(directory, beside));
  const section = readmeSection(result, {
    chart: (dataset) => fromReadme(chartName(name, dataset)),
    report: fromReadme(`${name}.md`),
  });
  writeFileSync(README, replaceSection(readFileSync(README, "utf8"), section));
}

/** The result that a file holds, if there is one. */
export function resultIn(file: string): BenchResult | undefined {
  return existsSync(file) ? readResult(file) : undefined;
}

function chartName(name: string, dataset: string): string {
  return `${name}-${dataset}.svg`;
}
