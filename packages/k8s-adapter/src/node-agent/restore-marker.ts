import { closeSync, constants, lstatSync, mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { VarveError } from "@varve/core";
import { MARKER_FOLDER } from "../volume/volume-tree.ts";

/** How an agent tells `restore-wait` that a volume is filled: an empty file in the volume (spec section 4.6). */

const UID = /^[A-Za-z0-9-]{1,64}$/;

/** Whatever lay there, also from the backup itself, is removed first; no link is followed. */
export function writeMarker(volumePath: string, restoreUid: string): void {
  if (!UID.test(restoreUid)) {
    throw new VarveError("invalid-argument", `not a UID: ${JSON.stringify(restoreUid)}`);
  }
  const folder = join(volumePath, MARKER_FOLDER);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o755 });
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
  closeSync(openSync(join(folder, restoreUid), flags, 0o644));
}

/** Takes the marker of this restore away, and its folder. */
export function removeMarker(volumePath: string, restoreUid: string): void {
  const folder = join(volumePath, MARKER_FOLDER);
  if (UID.test(restoreUid) && lstatSync(join(folder, restoreUid), { throwIfNoEntry: false })) {
    rmSync(folder, { recursive: true, force: true });
  }
}
