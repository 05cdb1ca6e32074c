import { errorMessage, VarveError } from "@varve/core";
import type { CallOptions } from "@varve/core/blob";
import type { Location } from "./location.ts";

/** What lies at the top of a location. Another folder there makes real Velero refuse it (spec section 2.1). */
const TOP_FOLDERS: ReadonlySet<string> = new Set([
  "backups",
  "restores",
  "restic",
  "metadata",
  "plugins",
  "kopia",
]);
// No more of them are named in a message.
const NAMED = 5;

/** Throws `invalid-argument` for a folder that does not belong there, and what the store says. */
export async function validateLocation(location: Location, options: CallOptions): Promise<void> {
  const foreign: string[] = [];
  for await (const name of location.bucket.folders(location.prefix, options)) {
    if (!TOP_FOLDERS.has(name)) {
      foreign.push(name);
    }
  }
  if (foreign.length > 0) {
    const names = foreign.toSorted().slice(0, NAMED).join(", ");
    const message = `the location holds folders that are not Velero's: ${names}; use a prefix, or another bucket`;
    throw new VarveError("invalid-argument", message);
  }
}

const SECRETS =
  /\b(sig|se|sp|sv|skoid|AccountKey|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|X-Goog-Signature)=[^\s&"';]+/gi;
const MAX_LENGTH = 1000;

/** For people who may read a resource's status, but not its secrets. */
export function redactedMessage(error: unknown): string {
  return errorMessage(error).replace(SECRETS, "$1=[redacted]").slice(0, MAX_LENGTH);
}
