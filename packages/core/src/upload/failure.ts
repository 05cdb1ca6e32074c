import { type ErrorCode, errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import { type EntryName, nameProblem } from "../snapshot/entry-name.ts";

/** Why an entry is not in the snapshot. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

export function badName(name: EntryName): Error | undefined {
  const problem = nameProblem(name);
  return problem === undefined ? undefined : new VarveError("source-failed", problem);
}

export function codeAndMessage(error: unknown): Failure {
  const code = isVarveError(error) ? error.code : "source-failed";
  return { code, message: errorMessage(error) };
}
