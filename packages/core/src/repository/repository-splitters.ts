import { VarveError } from "../base/errors.ts";
import { createSplitter } from "../splitter/registry.ts";
import type { Splitter } from "../splitter/splitter.ts";

/**
 * The look-up behind `Repository.splitter`. Throws `format-unsupported` when the repository's own splitter is unknown.
 */
export function repositorySplitters(ownName: string): (name: string | undefined) => Splitter {
  const own = createSplitter(ownName);
  if (own === undefined) {
    throw new VarveError("format-unsupported", `unknown splitter ${JSON.stringify(ownName)}`);
  }
  const made = new Map<string, Splitter>();
  return (name = "") => {
    const splitter = made.get(name) ?? createSplitter(name) ?? own;
    made.set(name, splitter);
    return splitter;
  };
}
