import { VarveError } from "../base/errors.ts";
import { msToNs } from "../base/time.ts";

/** How to choose among snapshots: by position, or the newest that started before a limit. */
export type TimeChoice = "latest" | "oldest" | { readonly beforeNs: bigint };

/**
 * Reads the `--snapshot-time` of Kopia's restore (behaviour §3.1): `latest`, `oldest`, `yesterday`, `last-month`, `last-year`,
 * `[Ny-][Nmo-][Nd-]ago`, or a time as precise as one likes, from the second to the year, which includes the whole of that unit.
 * Days and times without a zone are UTC; Kopia's are the local zone's, so that its answer depends on where one asks. Throws
 * `invalid-argument`.
 */
export function parseSnapshotTime(text: string, nowMs: number): TimeChoice {
  if (text === "" || text === "latest") {
    return "latest";
  }
  if (text === "oldest") {
    return "oldest";
  }
  const limitMs = relativeLimit(text, new Date(nowMs)) ?? absoluteLimit(text);
  if (limitMs === undefined || Number.isNaN(limitMs)) {
    throw new VarveError("invalid-argument", `not a snapshot time: ${JSON.stringify(text)}`);
  }
  return { beforeNs: msToNs(limitMs) };
}

const AGO =
  /^(?:(\d{1,3})(?:y|year|years)-)?(?:(\d{1,3})(?:m|mo|month|months)-)?(?:(\d{1,3})(?:d|day|days)-)?ago$/;

function relativeLimit(text: string, now: Date): number | undefined {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  switch (text) {
    case "yesterday":
      return Date.UTC(year, month, day);
    case "last-month":
      return Date.UTC(year, month, 1);
    case "last-year":
      return Date.UTC(year, 0, 1);
    default: {
      const match = AGO.exec(text);
      const [years, months, days] = [1, 2, 3].map((group) => Number(match?.[group] ?? 0));
      // The whole of that day is included.
      return match === null
        ? undefined
        : Date.UTC(year - (years ?? 0), month - (months ?? 0), day - (days ?? 0) + 1);
    }
  }
}

const TIME =
  /^(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2})(?::(\d{2})(?::(\d{2})(\.\d{3})?)?)?)?)?)?(?: ?(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?$/;

function absoluteLimit(text: string): number | undefined {
  const match = TIME.exec(text);
  // A zone needs a time of day.
  if (match === null || (match[8] !== undefined && match[5] === undefined)) {
    return undefined;
  }
  const fields = match.slice(1, 8);
  // The last field that was given is the unit; the limit is the beginning of the next one.
  const unit = fields.findLastIndex((field) => field !== undefined);
  const parts = fields.map((field) => (field === undefined ? undefined : Number(field)));
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0, fraction = 0] = parts;
  const millisecond = Math.round(fraction * 1000);
  if (!inRange({ month, day, hour, minute, second })) {
    return undefined;
  }
  const next = (index: number): number => (unit === index ? 1 : 0);
  const limit = Date.UTC(
    year + next(0),
    month - 1 + next(1),
    day + next(2),
    hour + next(3),
    minute + next(4),
    second + next(5),
    millisecond + next(6),
  );
  return limit - zoneOffsetMs(match[8] ?? "Z");
}

function inRange(time: {
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}): boolean {
  return (
    time.month >= 1 &&
    time.month <= 12 &&
    time.day >= 1 &&
    time.day <= 31 &&
    time.hour <= 23 &&
    time.minute <= 59 &&
    time.second <= 59
  );
}

function zoneOffsetMs(zone: string): number {
  const [, sign, hours, minutes] = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone) ?? [];
  const offset = (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60_000;
  return sign === "-" ? -offset : offset;
}
