/** A policy as stored (spec §6.6): every field optional, absent means inherit. Member names are Kopia's JSON names. */
export interface Policy {
  readonly retention?: RetentionPolicy | undefined;
  readonly files?: FilesPolicy | undefined;
  readonly errorHandling?: ErrorHandlingPolicy | undefined;
  readonly scheduling?: SchedulingPolicy | undefined;
  readonly compression?: CompressionPolicy | undefined;
  readonly metadataCompression?: { readonly compressorName?: string | undefined } | undefined;
  readonly splitter?: { readonly algorithm?: string | undefined } | undefined;
  readonly actions?: ActionsPolicy | undefined;
  readonly osSnapshots?:
    | { readonly volumeShadowCopy?: { readonly enable?: number | undefined } | undefined }
    | undefined;
  readonly logging?: LoggingPolicy | undefined;
  readonly upload?: UploadPolicy | undefined;
  readonly noParent?: boolean | undefined;
}

export interface RetentionPolicy {
  readonly keepLatest?: number | undefined;
  readonly keepHourly?: number | undefined;
  readonly keepDaily?: number | undefined;
  readonly keepWeekly?: number | undefined;
  readonly keepMonthly?: number | undefined;
  readonly keepAnnual?: number | undefined;
  readonly ignoreIdenticalSnapshots?: boolean | undefined;
}

export interface FilesPolicy {
  readonly ignore?: readonly string[] | undefined;
  readonly noParentIgnore?: boolean | undefined;
  readonly ignoreDotFiles?: readonly string[] | undefined;
  readonly noParentDotFiles?: boolean | undefined;
  readonly ignoreCacheDirs?: boolean | undefined;
  /** Bytes. */
  readonly maxFileSize?: number | undefined;
  readonly oneFileSystem?: boolean | undefined;
}

export interface ErrorHandlingPolicy {
  readonly ignoreFileErrors?: boolean | undefined;
  readonly ignoreDirectoryErrors?: boolean | undefined;
  readonly ignoreUnknownTypes?: boolean | undefined;
}

export interface SchedulingPolicy {
  readonly intervalSeconds?: number | undefined;
  readonly timeOfDay?: readonly { readonly hour: number; readonly min: number }[] | undefined;
  readonly noParentTimeOfDay?: boolean | undefined;
  readonly manual?: boolean | undefined;
  readonly cron?: readonly string[] | undefined;
  readonly runMissed?: boolean | undefined;
}

export interface CompressionPolicy {
  readonly compressorName?: string | undefined;
  /** Extensions with their dot. */
  readonly onlyCompress?: readonly string[] | undefined;
  readonly noParentOnlyCompress?: boolean | undefined;
  readonly neverCompress?: readonly string[] | undefined;
  readonly noParentNeverCompress?: boolean | undefined;
  /** Bytes of the file. */
  readonly minSize?: number | undefined;
  readonly maxSize?: number | undefined;
}

export interface ActionCommand {
  readonly path?: string | undefined;
  readonly args?: readonly string[] | undefined;
  readonly script?: string | undefined;
  /** Seconds. */
  readonly timeout?: number | undefined;
  readonly mode?: string | undefined;
}

export interface ActionsPolicy {
  readonly beforeFolder?: ActionCommand | undefined;
  readonly afterFolder?: ActionCommand | undefined;
  readonly beforeSnapshotRoot?: ActionCommand | undefined;
  readonly afterSnapshotRoot?: ActionCommand | undefined;
}

export interface LoggingPolicy {
  readonly directories?:
    | { readonly snapshotted?: number | undefined; readonly ignored?: number | undefined }
    | undefined;
  readonly entries?:
    | {
        readonly snapshotted?: number | undefined;
        readonly ignored?: number | undefined;
        readonly cacheHit?: number | undefined;
        readonly cacheMiss?: number | undefined;
      }
    | undefined;
}

export interface UploadPolicy {
  readonly maxParallelSnapshots?: number | undefined;
  readonly maxParallelFileReads?: number | undefined;
  /** Bytes; negative means never. */
  readonly parallelUploadAboveSize?: number | undefined;
}
