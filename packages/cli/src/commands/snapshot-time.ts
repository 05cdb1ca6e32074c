import { parseTimeNs } from "@varve/core";
import { InvalidArgumentError } from "commander";

/** `2024-01-31 12:00:00 UTC`, with an offset like `+02:00` in place of UTC, or RFC 3339. */
export function parseTime(text: string): bigint {
  const match = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2}(?:\.\d+)?) ?(\S+)$/.exec(text);
  const [, day, time, zone = ""] = match ?? [];
  const offset = /^(?:UTC|GMT|Z)$/i.test(zone)
    ? "Z"
    : zone.replace(/^([+-]\d\d):?(\d\d)$/, "$1:$2");
  try {
    return parseTimeNs(`${day}T${time}${offset}`);
  } catch {
    throw new InvalidArgumentError("not a time like '2024-01-31 12:00:00 UTC'");
  }
}
