import { type Command, InvalidArgumentError, Option } from "commander";

/** How option values are read. A value that cannot be understood is a usage error, never a guess. */

/** Adds `--name` and `--no-name`, as Kopia's switches have both; the help shows the one that changes something. */
export function addSwitch(
  command: Command,
  name: string,
  options: { readonly on: boolean; readonly help: string; readonly short?: string },
): Command {
  const long = `${options.short === undefined ? "" : `-${options.short}, `}--${name}`;
  const positive = new Option(long, options.help).default(options.on, "");
  const negative = new Option(`--no-${name}`, options.help);
  return command
    .addOption(options.on ? positive.hideHelp() : positive)
    .addOption(options.on ? negative : negative.hideHelp());
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("not a whole number");
  }
  return value;
}

export function parsePositive(text: string): number {
  const value = parseCount(text);
  if (value === 0) {
    throw new InvalidArgumentError("must be at least 1");
  }
  return value;
}

export function parsePercent(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 100)) {
    throw new InvalidArgumentError("not a number from 0 to 100");
  }
  return value;
}

/** `0.005`: a number of at least 0. */
export function parseAmount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0) || !Number.isFinite(value)) {
    throw new InvalidArgumentError("not a number of at least 0");
  }
  return value;
}

const BYTE_UNITS: ReadonlyMap<string, number> = new Map(
  ["", "k", "m", "g", "t"].flatMap((prefix, power) => [
    [`${prefix}ib`, 1024 ** power],
    [prefix, 1024 ** power],
    [`${prefix}b`, 1000 ** power],
  ]),
);

/** `512MiB`, `512M` (the same), `2GB`, or a plain number of bytes. */
export function parseBytes(text: string): number {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text) ?? [];
  const scale = BYTE_UNITS.get(unit.toLowerCase());
  const bytes = Math.floor(Number(digits) * (scale ?? Number.NaN));
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new InvalidArgumentError("not a size like 512MiB or 2GB");
  }
  return bytes;
}

/** `1h30m`, `45m`, `2s`, `500ms`. */
export function parseDurationMs(text: string): number {
  const match = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/.exec(text);
  if (match === null || text === "") {
    throw new InvalidArgumentError("not a duration like 45m or 1h30m");
  }
  const [hours, minutes, seconds, ms] = match.slice(1).map((part) => Number(part ?? 0));
  return (hours ?? 0) * 3_600_000 + (minutes ?? 0) * 60_000 + (seconds ?? 0) * 1000 + (ms ?? 0);
}

/** `30d` or `30`: whole days. */
export function parseDays(text: string): number {
  return parsePositive(text.replace(/d$/, ""));
}

/** `key:value`, several times; the first colon divides. */
export function collectTag(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const colon = text.indexOf(":");
  const key = text.slice(0, colon);
  if (colon <= 0) {
    throw new InvalidArgumentError("a tag is given as key:value");
  }
  if (Object.hasOwn(before, key)) {
    throw new InvalidArgumentError(`tag ${key} is given twice`);
  }
  return { ...before, [key]: text.slice(colon + 1) };
}
