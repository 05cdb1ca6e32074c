/**
 * The combinations of formats that a repository can have, so chosen that every pair of values of any two columns
 * occurs in some row (all-pairs testing). The same rows are written and read back by varve in every test run, and
 * handed to stock Kopia by the interop project.
 */
export interface MatrixRow {
  readonly hash: string;
  readonly encryption: string;
  readonly splitter: string;
  readonly compression: string;
  readonly version: 1 | 2 | 3;
  readonly eccPercent: number;
}

const HASHES = [
  "BLAKE2B-256-128",
  "BLAKE2B-256",
  "BLAKE2S-128",
  "BLAKE2S-256",
  "BLAKE3-256",
  "BLAKE3-256-128",
  "HMAC-SHA256",
  "HMAC-SHA256-128",
  "HMAC-SHA224",
  "HMAC-SHA3-224",
  "HMAC-SHA3-256",
];
const ENCRYPTIONS = ["AES256-GCM-HMAC-SHA256", "CHACHA20-POLY1305-HMAC-SHA256"];
const SPLITTERS = ["FIXED-128K", "DYNAMIC-128K-BUZHASH", "DYNAMIC-256K-RABINKARP", "FASTCDC-128K"];
/** Families are paired with everything; the names of a family take turns. */
const COMPRESSIONS = [
  ["none"],
  ["gzip", "gzip-best-speed", "gzip-best-compression"],
  ["pgzip", "pgzip-best-speed", "pgzip-best-compression"],
  ["zstd", "zstd-fastest", "zstd-better-compression", "zstd-best-compression"],
  ["s2-default", "s2-better", "s2-parallel-4", "s2-parallel-8"],
  ["deflate-default", "deflate-best-speed", "deflate-best-compression"],
];
const VERSIONS = [3, 2, 1] as const;
const ECC_PERCENTS = [0, 1, 2, 10];

/** Index version 1 has no room for an original length, so error correction needs version 2 (spec §4.3, §7). */
function isAllowed(column: number, value: number, row: readonly number[]): boolean {
  const version = VERSIONS[column === 4 ? value : (row[4] ?? 0)];
  const eccPercent = ECC_PERCENTS[column === 5 ? value : (row[5] ?? 0)];
  return version !== 1 || eccPercent === 0;
}

export function matrixRows(): readonly MatrixRow[] {
  const columns = [HASHES, ENCRYPTIONS, SPLITTERS, COMPRESSIONS, VERSIONS, ECC_PERCENTS];
  const turns = COMPRESSIONS.map(() => 0);
  return coveringRows(columns.map((column) => column.length)).map((row) => {
    const family = at(COMPRESSIONS, row[3]);
    const turn = at(turns, row[3]);
    turns[row[3] ?? 0] = turn + 1;
    return {
      hash: at(HASHES, row[0]),
      encryption: at(ENCRYPTIONS, row[1]),
      splitter: at(SPLITTERS, row[2]),
      compression: at(family, turn % family.length),
      version: at(VERSIONS, row[4]),
      eccPercent: at(ECC_PERCENTS, row[5]),
    };
  });
}

export function rowName(row: MatrixRow): string {
  return `v${row.version} ${row.hash} ${row.encryption.slice(0, 8)} ${row.splitter} ${row.compression} ecc ${row.eccPercent}`;
}

function at<T>(values: readonly T[], index: number | undefined): T {
  const value = values[index ?? 0];
  if (value === undefined) {
    throw new Error(`no value ${index}`);
  }
  return value;
}

function key(a: number, x: number, b: number, y: number): string {
  return a < b ? `${a}:${x} ${b}:${y}` : `${b}:${y} ${a}:${x}`;
}

/** Greedy all-pairs: each row starts from an uncovered pair and fills the rest with what covers most. */
function coveringRows(sizes: readonly number[]): number[][] {
  const uncovered = new Set<string>();
  sizes.forEach((size, a) => {
    for (let b = a + 1; b < sizes.length; b++) {
      for (let x = 0; x < size; x++) {
        for (let y = 0; y < (sizes[b] ?? 0); y++) {
          if (!(a === 4 && b === 5 && x === 2 && y > 0)) {
            uncovered.add(key(a, x, b, y));
          }
        }
      }
    }
  });
  const rows: number[][] = [];
  for (let [first] = uncovered; first !== undefined; [first] = uncovered) {
    const row: number[] = [];
    for (const part of first.split(" ")) {
      const [column, value] = part.split(":").map(Number);
      row[column ?? 0] = value ?? 0;
    }
    for (let column = 0; column < sizes.length; column++) {
      row[column] ??= bestValue(column, row);
    }
    row.forEach((x, a) => row.forEach((y, b) => void (a < b && uncovered.delete(key(a, x, b, y)))));
    rows.push(row);
  }
  return rows;

  function bestValue(column: number, row: readonly number[]): number {
    const gain = (value: number): number =>
      row.filter((other, b) => other !== undefined && uncovered.has(key(column, value, b, other)))
        .length;
    const values = [...Array(sizes[column] ?? 0).keys()].filter((value) =>
      isAllowed(column, value, row),
    );
    return values.reduce((best, value) => (gain(value) > gain(best) ? value : best));
  }
}
