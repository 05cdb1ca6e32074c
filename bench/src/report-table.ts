/** How numbers and tables stand in reports. */

/** A Markdown table; all columns but those of names are aligned right. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = columns.map((column) => (NAME_COLUMNS.has(column) ? "---" : "---:"));
  return [columns, rule, ...rows].map(tableRow).join("\n");
}

function tableRow(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

const NAME_COLUMNS: ReadonlySet<string> = new Set([
  ...["tool", "tools", "data", "suite", "task", "work", "where"],
]);

export function duration(seconds: number): string {
  return seconds.toFixed(seconds < 10 ? 2 : 1);
}

export function megabytes(bytes: number): string {
  const value = bytes / 1e6;
  return Math.abs(value) < 10 ? value.toFixed(1) : String(Math.round(value));
}

export function ratio(mine: number | undefined, theirs: number | undefined): string {
  return mine === undefined || theirs === undefined || theirs === 0 || mine === 0
    ? ""
    : (mine / theirs).toFixed(2);
}
