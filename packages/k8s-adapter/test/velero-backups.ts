import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** Backups made by real Velero: its bucket, the objects they are of, what was asked for and what was restored. */

const archive = fileURLToPath(new URL("fixtures/velero-backups.tar.gz", import.meta.url));

export interface VeleroBackups extends AsyncDisposable {
  /** Its `README.md` says what lies in it; the bucket's keys are files under `bucket/`. */
  readonly folder: string;
}

/** A copy of one's own in a temporary folder, removed when disposed of. */
export async function unpackVeleroBackups(): Promise<VeleroBackups> {
  const folder = await mkdtemp(join(tmpdir(), "varve-velero-backups-"));
  await promisify(execFile)("tar", ["-xzf", archive, "--no-same-owner", "-C", folder]);
  return {
    folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
