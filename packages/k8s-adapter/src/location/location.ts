import type { BlobStore, Bucket, CallOptions } from "@varve/core/blob";
import type { BackupStorageLocation } from "../velero/resources.ts";

/** A BackupStorageLocation that has been opened: folders of a bucket, laid out as spec section 3 says. */
export interface Location extends AsyncDisposable {
  readonly name: string;
  readonly resource: BackupStorageLocation;
  readonly readOnly: boolean;
  readonly bucket: Bucket;
  /** Empty, or ending in a slash. */
  readonly prefix: string;
  /** `backups/<backup>/`, flat. */
  backupFiles(backup: string): BlobStore;
  /** `restores/<restore>/`, flat. */
  restoreFiles(restore: string): BlobStore;
  /** `kopia/<namespace>/`: one repository. */
  repository(volumeNamespace: string): BlobStore;
}

/** Opens locations by name, with the credentials of their secrets; shares what is open, and notices changed resources. */
export interface Locations extends AsyncDisposable {
  /** Throws `VarveError` (`invalid-argument` for one that does not exist or makes no sense; what the store says). Dispose what you get. */
  open(name: string, options?: CallOptions): Promise<Location>;
}
