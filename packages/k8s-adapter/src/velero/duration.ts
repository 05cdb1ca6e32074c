/** Go's durations, as they stand in resources (spec section 0.6). */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of `1h30m`, `1.5s`, `0`; `undefined` for what is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.exec(text);
  if (match === null) {
    return /^[+-]?0$/.test(text) ? 0 : undefined;
  }
  let ms = 0;
  for (const [, value = "", unit = ""] of text.matchAll(
    /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g,
  )) {
    ms += Number(value) * (UNIT_MS[unit] ?? 0);
  }
  return match[1] === "-" ? -ms : ms;
}

/** Milliseconds of a duration in a resource; absent, zero and unreadable ones mean `defaultMs`. */
export function durationMs(text: string | null | undefined, defaultMs: number): number {
  const ms = parseDuration(text ?? "");
  return ms === undefined || ms === 0 ? defaultMs : ms;
}

/** Whole milliseconds in Go's form: `720h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) {
    return "0s";
  }
  const sign = ms < 0 ? "-" : "";
  const total = Math.abs(ms);
  if (total < 1000) {
    return `${sign}${total}ms`;
  }
  const hours = Math.floor(total / 3_600_000);
  const minutes = Math.floor((total % 3_600_000) / 60_000);
  const seconds = `${(total % 60_000) / 1000}s`;
  if (hours > 0) {
    return `${sign}${hours}h${minutes}m${seconds}`;
  }
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

/** RFC 3339, UTC, whole seconds, as Kubernetes writes times. */
export function formatTime(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace(".000Z", "Z");
}

/** Milliseconds since the Unix epoch; `undefined` for what is no time. */
export function parseTime(text: string | null | undefined): number | undefined {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}
