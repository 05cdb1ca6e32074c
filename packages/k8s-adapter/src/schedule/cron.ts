import { VarveError } from "@varve/core";
import { Cron } from "croner";
import { parseDuration } from "../velero/duration.ts";

/**
 * The cron expressions that Velero takes (spec section 7): five fields, `@daily` and its like, `@every 90m`, each with a
 * `TZ=` or `CRON_TZ=` in front or none, which means UTC. The fields are read here, as other programs disagree about
 * Sunday, steps and question marks; the times are a library's, time zones and all.
 */

export interface CronSchedule {
  /** The first time after `afterMs`, milliseconds since the Unix epoch; `undefined` for one that never comes. */
  next(afterMs: number): number | undefined;
}

const MACROS: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const FIELDS: readonly Field[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of the month", min: 1, max: 31 },
  {
    name: "month",
    min: 1,
    max: 12,
    names: "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(" "),
  },
  // Sunday is 0 and nothing else.
  { name: "day of the week", min: 0, max: 6, names: "SUN MON TUE WED THU FRI SAT".split(" ") },
];
const MAX_LENGTH = 1000;

/** Throws `invalid-argument`, with a text for the owner of the schedule. */
export function parseCron(text: string): CronSchedule {
  if (text.length > MAX_LENGTH) {
    throw invalid("it is too long");
  }
  const [, zone = "UTC", rest = text] = /^(?:CRON_)?TZ=(\S*)\s+(.*)$/s.exec(text) ?? [];
  const spec = rest.trim();
  const [, every] = /^@every\s+(.*)$/.exec(spec) ?? [];
  if (every !== undefined) {
    return everyDuration(every);
  }
  const pattern = spec.startsWith("@") ? MACROS[spec] : spec;
  if (pattern === undefined) {
    throw invalid(`${JSON.stringify(spec)} is no known word`);
  }
  const fields = pattern === "" ? [] : pattern.split(/\s+/);
  if (fields.length !== FIELDS.length) {
    throw invalid(`it has ${fields.length} fields, not ${FIELDS.length}`);
  }
  const normal = FIELDS.map((field, index) => normalField(fields[index] ?? "", field)).join(" ");
  try {
    const cron = new Cron(normal, { timezone: zone, paused: true });
    const next = (afterMs: number): number | undefined =>
      cron.nextRun(new Date(afterMs))?.getTime();
    next(0); // finds out about the zone
    return { next };
  } catch {
    throw invalid(`${JSON.stringify(zone)} is no time zone`);
  }
}

/** As Go's libraries do it: whole seconds, at least one, from the last time on. */
function everyDuration(text: string): CronSchedule {
  const ms = parseDuration(text);
  if (ms === undefined || ms < 0) {
    throw invalid(`${JSON.stringify(text)} is no duration`);
  }
  const stepMs = Math.max(1000, Math.floor(ms / 1000) * 1000);
  return { next: (afterMs) => Math.floor(afterMs / 1000) * 1000 + stepMs };
}

/** `*`, or the numbers that match, one by one. */
function normalField(text: string, field: Field): string {
  const parts = text.split(",").map((part) => part.toUpperCase());
  // A star in a day field, also in a list, leaves the other day field alone to decide.
  if (parts.some((part) => /^[*?](?:\/1)?$/.test(part))) {
    for (const part of parts) {
      numbersOf(part, field); // must make sense nevertheless
    }
    return "*";
  }
  const numbers = new Set(parts.flatMap((part) => numbersOf(part, field)));
  return [...numbers].toSorted((a, b) => a - b).join(",");
}

function numbersOf(part: string, field: Field): number[] {
  const { name, min, max } = field;
  const match = /^(?:([*?])|(\w+)(?:-(\w+))?)(?:\/(\d{1,9}))?$/.exec(part);
  if (match === null) {
    throw invalid(`${name}: ${JSON.stringify(part)} makes no sense`);
  }
  const [, star, from, to, step] = match;
  const first = star === undefined ? valueOf(from ?? "", field) : min;
  // `5/15` goes on to the end.
  const isOpen = star !== undefined || (to === undefined && step !== undefined);
  const last = isOpen ? max : to === undefined ? first : valueOf(to, field);
  const by = step === undefined ? 1 : Number(step);
  if (first > last || by === 0) {
    throw invalid(`${name}: ${JSON.stringify(part)} matches nothing`);
  }
  const numbers: number[] = [];
  for (let number = first; number <= last; number += by) {
    numbers.push(number);
  }
  return numbers;
}

function valueOf(text: string, { name, min, max, names = [] }: Field): number {
  const index = names.indexOf(text);
  const value = index >= 0 ? index + min : /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw invalid(`${name}: ${JSON.stringify(text)} is not between ${min} and ${max}`);
  }
  return value;
}

function invalid(why: string): VarveError {
  return new VarveError("invalid-argument", `invalid schedule: ${why}`);
}
