/**
 * The log of one backup or restore: kept for its `-logs.gz`, and counted, as every error entry makes the run
 * PartiallyFailed (spec 2.7). Never holds secrets.
 */
export interface RunLog {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** `resource` (canonical), `namespace`, `name` and `error` decide in which bucket of `-results.gz` it lands. */
export interface LogFields {
  readonly resource?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly error?: unknown;
  readonly [field: string]: unknown;
}
