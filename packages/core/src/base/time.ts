import { VarveError } from "./errors.ts";

const NS_PER_SECOND = 1_000_000_000n;
// Years 0 to 9999, what RFC 3339 can say.
const FIRST_SECOND = -62_167_219_200;
const LAST_SECOND = 253_402_300_799;
const TWO_DIGITS: readonly string[] = Array.from({ length: 100 }, (_, value) =>
  String(value).padStart(2, "0"),
);

/** RFC 3339 in UTC, up to nine fractional digits, trailing zeros removed: how Kopia writes times. Throws `invalid-argument` outside the years 0 to 9999. */
export function formatTimeNs(timeNs: bigint): string {
  // A directory record has a time for every entry: no Date here, which costs four times as much.
  let seconds = Number(timeNs / NS_PER_SECOND);
  let nanos = Number(timeNs % NS_PER_SECOND);
  if (nanos < 0) {
    seconds--;
    nanos += 1e9;
  }
  if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) {
    throw new VarveError("invalid-argument", `time out of range: ${timeNs} ns`);
  }
  const days = Math.floor(seconds / 86_400);
  const second = seconds - days * 86_400;
  const clock = `${two(second / 3600)}:${two((second / 60) % 60)}:${two(second % 60)}`;
  return `${formatDay(days)}T${clock}${formatFraction(nanos)}Z`;
}

function two(value: number): string {
  return TWO_DIGITS[Math.floor(value)] as string; // every caller gives less than 100
}

/** Gregorian date of a day counted from 1970-01-01, by eras of 400 years that begin in March. */
function formatDay(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${two(year / 100)}${two(year % 100)}-${two(month)}-${two(day)}`;
}

function formatFraction(nanos: number): string {
  if (nanos === 0) {
    return "";
  }
  const digits = `.${String(nanos).padStart(9, "0")}`;
  let end = 10;
  while (digits.charCodeAt(end - 1) === ZERO) {
    end--;
  }
  return digits.slice(0, end);
}

const ZERO = 48;
const OTHER_FORMS =
  /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** Nanoseconds since the Unix epoch of an RFC 3339 time with any offset; digits beyond the ninth are cut. Throws `corrupt`. */
export function parseTimeNs(text: string): bigint {
  const match = isPlainUtc(text) ? undefined : OTHER_FORMS.exec(text);
  if (match === null) {
    throw new VarveError("corrupt", `not an RFC 3339 time: ${JSON.stringify(text.slice(0, 64))}`);
  }
  const [, sign, hours, minutes] = match ?? [];
  const offsetSeconds = (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60;
  const seconds = secondsOf(text) + (sign === "-" ? offsetSeconds : -offsetSeconds);
  return BigInt(seconds) * NS_PER_SECOND + BigInt(nanosOf(text));
}

const POINT = 46;
const COMMA = 44;
const PLAIN = "0000-00-00T00:00:00";

/** The form that Kopia writes, without a regular expression: a third of the cost. */
function isPlainUtc(text: string): boolean {
  const end = text.length - 1;
  if (end < 19 || end > 29 || end === 20 || text.charCodeAt(end) !== 90 /* Z */) {
    return false;
  }
  for (let index = 0; index < end; index++) {
    const code = text.charCodeAt(index);
    const expected = index < 19 ? PLAIN.charCodeAt(index) : index === 19 ? POINT : ZERO;
    if (expected === ZERO ? code < ZERO || code > 57 : code !== expected) {
      return false;
    }
  }
  return true;
}

/** Seconds of the first 19 characters, which are digits where digits belong. */
function secondsOf(text: string): number {
  const year = number(text, 0) * 100 + number(text, 2);
  const day = dayOf(year, number(text, 5), number(text, 8));
  const minutes = day * 1440 + number(text, 11) * 60 + number(text, 14);
  return minutes * 60 + number(text, 17);
}

/** The reverse of {@link formatDay}; what is too much of one part counts on in the next, as with Date. */
function dayOf(year: number, month: number, day: number): number {
  const monthFromMarch = (month + 9) % 12;
  const yearFromMarch = year - 1 + Math.floor((month + 9) / 12);
  const era = Math.floor(yearFromMarch / 400);
  const yearOfEra = yearFromMarch - era * 400;
  const dayOfYear = Math.floor((153 * monthFromMarch + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Of the fraction that begins at character 20, when there is one. */
function nanosOf(text: string): number {
  let nanos = 0;
  const point = text.charCodeAt(19);
  if (point === POINT || point === COMMA) {
    for (let index = 20, scale = 1e8; scale >= 1; index++, scale /= 10) {
      const digit = text.charCodeAt(index) - ZERO;
      if (!(digit >= 0 && digit <= 9)) {
        break;
      }
      nanos += digit * scale;
    }
  }
  return nanos;
}

/** Two digits. */
function number(text: string, index: number): number {
  return (text.charCodeAt(index) - ZERO) * 10 + text.charCodeAt(index + 1) - ZERO;
}

export function msToNs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * 1_000_000n;
}

/** Rounds down. */
export function nsToMs(ns: bigint): number {
  return Number(ns / 1_000_000n) - (ns % 1_000_000n < 0n ? 1 : 0);
}
