import { VarveError } from "./errors.ts";

const NS_PER_SECOND = 1_000_000_000n;
const TIME =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9})\d*)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** RFC 3339 in UTC, up to nine fractional digits, trailing zeros removed: how Kopia writes times. */
export function formatTimeNs(timeNs: bigint): string {
  const nanos = ((timeNs % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  const seconds = (timeNs - nanos) / NS_PER_SECOND;
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() < 0 || date.getUTCFullYear() > 9999) {
    throw new VarveError("invalid-argument", `time out of range: ${timeNs} ns`);
  }
  const whole = date.toISOString().slice(0, 19);
  const fraction = nanos === 0n ? "" : `.${String(nanos).padStart(9, "0").replace(/0+$/, "")}`;
  return `${whole}${fraction}Z`;
}

/** Nanoseconds since the Unix epoch of an RFC 3339 time with any offset. Throws `corrupt`. */
export function parseTimeNs(text: string): bigint {
  const match = TIME.exec(text);
  if (match === null) {
    throw new VarveError("corrupt", `not an RFC 3339 time: ${JSON.stringify(text.slice(0, 64))}`);
  }
  const [, year, month, day, hour, minute, second, fraction, sign, offsetHour, offsetMinute] =
    match;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  const offsetMinutes =
    (Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0)) * (sign === "-" ? -1 : 1);
  const seconds = BigInt(date.getTime() / 1000 - offsetMinutes * 60);
  return seconds * NS_PER_SECOND + BigInt((fraction ?? "").padEnd(9, "0"));
}

export function msToNs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * 1_000_000n;
}

/** Rounds down. */
export function nsToMs(ns: bigint): number {
  return Number(ns / 1_000_000n) - (ns % 1_000_000n < 0n ? 1 : 0);
}
