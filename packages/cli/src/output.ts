/** What commands print: text for people, one JSON document for programs. */

export function printLine(text = ""): void {
  process.stdout.write(`${text}\n`);
}

/** One document, RFC 3339 times and decimal strings where a number would lose digits. */
export function printJson(value: unknown): void {
  process.stdout.write(
    `${JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? String(item) : item), 2)}\n`,
  );
}

/** `1.2 GB`: decimal units, as Kopia prints them. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `3m12s`, `0.4s`. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) {
    return `${seconds.toFixed(1)}s`;
  }
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  return minutes < 60 ? `${minutes}m${rest}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}

/** `1 file`, `2 files`, `2 directories`. */
export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;
}

/** Columns padded to their widest cell; numbers (marked by the header's leading `>`) to the right. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const titles = header.map((title) => title.replace(/^>/, ""));
  const widths = titles.map((title, column) =>
    rows.reduce((width, row) => Math.max(width, (row[column] ?? "").length), title.length),
  );
  for (const row of [titles, ...rows]) {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return header[column]?.startsWith(">") === true ? cell.padStart(width) : cell.padEnd(width);
    });
    printLine(cells.join("  ").trimEnd());
  }
}

/** File names may hold anything; a terminal must not obey them. */
export function printableName(name: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return name.replace(/[\u0000-\u001f\u007f-\u009f\\]/g, (character) =>
    character === "\\" ? "\\\\" : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
