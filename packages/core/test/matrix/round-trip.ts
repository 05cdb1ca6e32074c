import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import { kopiaGlobalPolicyPayload } from "../../src/policy/default-policy.ts";
import { createRepository } from "../../src/repository/create-repository.ts";
import { openRepository } from "../../src/repository/open-repository.ts";
import type { ClientIdentity, Repository } from "../../src/repository/repository.ts";
import { localTarget } from "../../src/restore/local-target.ts";
import { restore } from "../../src/restore/restore.ts";
import type { Snapshot } from "../../src/snapshot/snapshot-manifest.ts";
import { isKopiaSplitter } from "../../src/splitter/registry.ts";
import { createSnapshot } from "../../src/upload/create-snapshot.ts";
import type { UploadReport } from "../../src/upload/upload-options.ts";
import { verify } from "../../src/verify/verify.ts";
import type { MatrixRow } from "./matrix.ts";

/** One row of the matrix as a repository in a folder, used by a user as the CLI would. */

const password = "matrix password";

export async function createRow(
  folder: string,
  row: MatrixRow,
  client: ClientIdentity,
): Promise<void> {
  await using store = await openFileSystemStore(folder, { create: true });
  const splitter = isKopiaSplitter(row.splitter) ? row.splitter : "DYNAMIC-4M-BUZHASH";
  await createRepository(store, {
    password,
    hash: row.hash,
    encryption: row.encryption,
    splitter,
    version: row.version,
    ecc:
      row.eccPercent === 0
        ? undefined
        : { algorithm: "REED-SOLOMON-CRC32", overheadPercent: row.eccPercent },
    client,
    initialManifests: [
      {
        labels: { type: "policy", policyType: "global" },
        payload: {
          ...kopiaGlobalPolicyPayload({ splitter: row.splitter }),
          compression: { compressorName: row.compression },
        },
      },
    ],
  });
}

/** Opens, works, closes: each step of a test is a client of its own. */
export async function withRow<T>(
  folder: string,
  client: ClientIdentity,
  work: (repository: Repository) => Promise<T>,
): Promise<T> {
  await using store = await openFileSystemStore(folder);
  await using repository = await openRepository(store, { password, client });
  return await work(repository);
}

export async function snapshotFolder(repository: Repository, path: string): Promise<UploadReport> {
  const report = await createSnapshot(repository, { path });
  if (report.errors.length > 0) {
    throw new Error(`backing up ${path}: ${JSON.stringify(report.errors)}`);
  }
  return report;
}

/** Every byte of everything; throws what is damaged. */
export async function verifyAll(repository: Repository): Promise<void> {
  const report = await verify(repository, {});
  if (report.damagedCount > 0 || report.snapshots === 0) {
    throw new Error(`verify: ${JSON.stringify(report)}`);
  }
}

export async function restoreAll(
  repository: Repository,
  snapshot: Snapshot,
  folder: string,
): Promise<void> {
  const report = await restore(repository, { root: snapshot.root, target: localTarget(folder) });
  if (report.failures.length > 0) {
    throw new Error(`restore: ${JSON.stringify(report.failures)}`);
  }
}
