/**
 * The entry `@varve/core/format`: what it takes to unlock a repository, and no more. Deriving the key takes the thread
 * pool a fifth of a second, in which a program that begins with this can load the rest; see `format` of `openRepository`.
 */
export type { DerivedKey, RepositoryFormat } from "./format.ts";
export { readRepositoryFormat } from "./read-format.ts";
