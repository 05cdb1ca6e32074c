/**
 * What the compiler and the linter do not see: the order of the layers, lengths, banned calls and words. Pure
 * functions on source text, run as a test (`tidy.test.ts`).
 */

export interface SourceFile {
  /** From the project's root, `/` separators. */
  readonly path: string;
  readonly text: string;
}

/** The folders of `packages/core/src`, each importing only those before it; peers share a line. */
const LAYERS: readonly (readonly string[])[] = [
  ["base"],
  ["crypto", "ecc", "compression", "splitter"],
  ["blob"],
  ["format"],
  ["index"],
  ["epoch"],
  ["content"],
  ["pipeline"],
  ["object"],
  ["manifest"],
  ["repository"],
  ["snapshot"],
  ["policy"],
  ["source"],
  ["upload", "restore", "verify", "copy"],
  ["fix", "maintenance", "repair"], // act on what `verify` finds, or on what cannot be read at all
  ["testing"],
];

/** The only files of core that may import `node:` modules or native packages: a browser build leaves them out. */
const PLATFORM_FILES: readonly RegExp[] = [
  /^blob\/(filesystem|directory)-/,
  /^content\/scratch-file/,
  /^source\/local-/,
  /^upload\/create-snapshot/, // the local source's own verb
  /^restore\/(local|tar|zip)-/,
  /^(maintenance|verify)\/local-/,
  /^crypto\/(native|node)-provider/,
  /^compression\/(node|native)-/,
  /^compression\/zlib-/,
  /^pipeline\/(worker-|process-file|file-reader|inline-)/,
];

const BANNED: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: /\bDate\.now\(/, why: "time comes from Environment" },
  { pattern: /\bperformance\.now\(/, why: "time comes from Environment" },
  { pattern: /\bset(?:Timeout|Interval)\(/, why: "sleeping comes from Environment" },
  { pattern: /\bMath\.random\(/, why: "chance comes from Environment" },
  { pattern: /\bprocess\.(?:env|exit|on|stdout|stderr)\b/, why: "the host owns the process" },
  { pattern: /\bconsole\./, why: "the library never prints" },
  { pattern: /\b(?:it|test|describe)\.(?:skip|only|todo)\b/, why: "no test is skipped" },
  { pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/, why: "unfinished work belongs in an issue" },
];

const MAX_FILE_LINES = 500;
const MAX_FUNCTION_LINES = 70;

/** Every departure from the rules, as `path:line: what`. */
export function findings(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => [
    ...layerFindings(file),
    ...platformFindings(file),
    ...bannedFindings(file),
    ...lengthFindings(file),
  ]);
}

const CORE = "packages/core/src/";

function isTest(file: SourceFile): boolean {
  return file.path.endsWith(".test.ts") || file.path.includes("/test/");
}

function layerOf(pathInCore: string): string | undefined {
  return pathInCore.includes("/") ? pathInCore.slice(0, pathInCore.indexOf("/")) : undefined;
}

function rank(layer: string): number {
  return LAYERS.findIndex((row) => row.includes(layer));
}

function layerFindings(file: SourceFile): string[] {
  const layer = file.path.startsWith(CORE) ? layerOf(file.path.slice(CORE.length)) : undefined;
  if (layer === undefined || isTest(file)) {
    return [];
  }
  if (rank(layer) < 0) {
    return [`${file.path}:1: ${layer}/ is not a layer`];
  }
  return matches(file, /(?:from|import\()\s*"\.\.\/([a-z]+)\//).flatMap(({ line, groups }) => {
    const target = groups[0] ?? "";
    return rank(target) < rank(layer)
      ? []
      : [`${file.path}:${line}: ${layer}/ may not import ${target}/`];
  });
}

function platformFindings(file: SourceFile): string[] {
  if (!file.path.startsWith(CORE) || isTest(file)) {
    return [];
  }
  const inCore = file.path.slice(CORE.length);
  return PLATFORM_FILES.some((pattern) => pattern.test(inCore))
    ? []
    : matches(file, /(?:from|import\()\s*"(node:[a-z_/]+|@napi-rs\/[a-z-]+)"/).map(
        ({ line, groups }) =>
          `${file.path}:${line}: imports ${groups[0]}, but a browser build keeps this file`,
      );
}

function bannedFindings(file: SourceFile): string[] {
  const library = file.path.startsWith(CORE) && !file.path.startsWith(`${CORE}base/environment.ts`);
  return BANNED.flatMap(({ pattern, why }, rule) => {
    const applies = rule >= BANNED.length - 2 || (library && !isTest(file));
    return applies && !file.path.startsWith("scripts/")
      ? matches(file, pattern).map(({ line, text }) => `${file.path}:${line}: ${text}: ${why}`)
      : [];
  });
}

function lengthFindings(file: SourceFile): string[] {
  const lines = file.text.split("\n");
  const found: string[] = [];
  if (lines.length > MAX_FILE_LINES + 1) {
    found.push(`${file.path}:1: ${lines.length - 1} lines, ${MAX_FILE_LINES} is the end`);
  }
  // The formatter guarantees that a function's closing brace stands at its own indentation.
  const start =
    /^(\s*)(?:export )?(?:async )?(?:function\*? |(?:static |override |readonly |get |set |async |\*)*#?[a-zA-Z_]+(?:<.*>)?\()[^;]*\{$/;
  for (const [index, line] of lines.entries()) {
    const indent = start.exec(line)?.[1];
    if (
      indent === undefined ||
      /^\s*(?:if|for|while|switch|describe|test|it|return|await)\b/.test(line)
    ) {
      continue;
    }
    const length = lines.slice(index).findIndex((other) => other.startsWith(`${indent}}`)) + 1;
    if (length > MAX_FUNCTION_LINES) {
      found.push(
        `${file.path}:${index + 1}: function of ${length} lines, ${MAX_FUNCTION_LINES} is the end`,
      );
    }
  }
  return found;
}

function matches(
  file: SourceFile,
  pattern: RegExp,
): { line: number; text: string; groups: readonly string[] }[] {
  return [...file.text.matchAll(new RegExp(pattern, "g"))]
    .map((match) => {
      const before = file.text.slice(0, match.index);
      const lineStart = before.lastIndexOf("\n") + 1;
      return {
        line: before.split("\n").length,
        text: match[0],
        groups: match.slice(1),
        comment: /^\s*(?:\/\/|\*|\/\*)/.test(file.text.slice(lineStart, lineStart + 200)),
      };
    })
    .filter(({ comment, text }) => !comment || /TODO|FIXME|XXX|HACK/.test(text));
}
