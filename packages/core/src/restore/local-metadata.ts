import { fchmodSync, fchownSync, fstatSync, futimesSync, lchownSync, lutimesSync } from "node:fs";
import type { EntryMeta } from "../snapshot/entry.ts";
import type { ExactTimes } from "./local-exact-times.ts";

/** Mode, owner and times of what was restored; symlinks are never followed. */

export interface MetadataOptions {
  readonly skipOwners: boolean;
  readonly skipPermissions: boolean;
  readonly skipTimes: boolean;
  readonly ignorePermissionErrors: boolean;
  /** How to set times; Node's own way where there is none. */
  readonly exactTimes: ExactTimes | undefined;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** What is set. */
export type EntryMetadata = Pick<EntryMeta, "mode" | "uid" | "gid" | "mtimeNs">;

export const SET_ID_BITS = 0o6000;

/**
 * Applies `meta` to an open file or directory: owner, then mode (a change of owner clears setuid), then times. Setuid
 * and setgid are kept only for the recorded owner: a program that belonged to somebody else must not run with the
 * rights of whoever restored it. `owner`, where known, is whose the file is already.
 */
export function applyMetadata(
  fd: number,
  meta: EntryMetadata,
  options: MetadataOptions,
  owner?: Owner,
): void {
  let owned = false;
  if (options.skipOwners) {
    const { uid, gid } = fstatSync(fd);
    owned = uid === meta.uid && gid === meta.gid;
  } else if (owner?.uid === meta.uid && owner.gid === meta.gid) {
    owned = true;
  } else {
    owned = allowed(options, () => fchownSync(fd, meta.uid, meta.gid));
  }
  if (!options.skipPermissions) {
    allowed(options, () => fchmodSync(fd, owned ? meta.mode : meta.mode & ~SET_ID_BITS));
  }
  const { mtimeNs } = meta;
  if (!options.skipTimes && !setExactly(mtimeNs, (times) => times.setOpen(fd, mtimeNs), options)) {
    const time = nodeTime(mtimeNs);
    allowed(options, () => futimesSync(fd, time, time));
  }
}

/** False when Node must do it: it is exact, and ten times cheaper, for whole seconds. */
function setExactly(
  timeNs: bigint,
  set: (times: ExactTimes) => boolean,
  { exactTimes }: MetadataOptions,
): boolean {
  return exactTimes !== undefined && !isWholeSecond(timeNs) && set(exactTimes);
}

/** Owner and times of a symlink. */
export function applyLinkMetadata(
  path: string | Buffer,
  meta: EntryMeta,
  options: MetadataOptions,
): void {
  if (!options.skipOwners) {
    allowed(options, () => lchownSync(path, meta.uid, meta.gid));
  }
  const { mtimeNs } = meta;
  if (
    !options.skipTimes &&
    !setExactly(mtimeNs, (times) => times.setEntry(path, mtimeNs), options)
  ) {
    const time = nodeTime(mtimeNs);
    allowed(options, () => lutimesSync(path, time, time));
  }
}

/** False when the system forbade it and that is to be ignored. */
function allowed(options: MetadataOptions, change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // what node:fs throws
    if (options.ignorePermissionErrors && (code === "EPERM" || code === "EACCES")) {
      return false;
    }
    throw error;
  }
}

function isWholeSecond(timeNs: bigint): boolean {
  return timeNs >= 0n && timeNs % 1_000_000_000n === 0n;
}

/**
 * What makes Node set the time that is nearest below. Node 20 cuts the double to microseconds, which a quarter of
 * one keeps from falling to the one before; it cannot set a fraction before 1970, and takes only a Date there.
 */
function nodeTime(timeNs: bigint): number | Date {
  const microseconds = timeNs / 1000n;
  if (timeNs < 0n) {
    return new Date(Math.floor(Number(timeNs) / 1e9) * 1000);
  }
  return isWholeSecond(timeNs)
    ? Number(timeNs / 1_000_000_000n)
    : Number(microseconds / 1_000_000n) + (Number(microseconds % 1_000_000n) + 0.25) / 1e6;
}
