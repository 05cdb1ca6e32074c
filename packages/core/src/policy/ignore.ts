import { fromUtf8 } from "../base/bytes.ts";
import { type IgnorePattern, compilePattern, matchesPath } from "./ignore-pattern.ts";
import type { PolicyTree } from "./policy-tree.ts";

/**
 * What an upload leaves out by name (behaviour §1.6): rules of policies and of dot-ignore files, in a chain of contexts, one for
 * each directory. The parent's verdict comes first, then the directory's own rules in order; the last that matches wins.
 * An ignored directory is not entered, so nothing in it can come back. Sizes, devices and cache directories are not judged here.
 */
export interface IgnoreContext {
  /** True when there are no rules here. */
  readonly isEmpty: boolean;
  /** Whether the entry `name` of this context's directory is left out. */
  isIgnored(name: string, isDirectory: boolean): boolean;
  /** The context of the child directory `name`. Throws `invalid-argument` for a malformed rule: the directory must then fail. */
  enter(name: string, options: DirectoryRules): IgnoreContext;
}

export interface DirectoryRules {
  /** The policies of the directory. */
  readonly policy: PolicyTree;
  /** Lines of its dot-ignore files, in the order of `files.ignoreDotFiles` of the effective policy; see {@link parseIgnoreLines}. */
  readonly dotIgnoreLines?: readonly string[] | undefined;
}

/** The context of a source's root. Throws `invalid-argument` for a malformed rule. */
export function createIgnoreRules(root: DirectoryRules): IgnoreContext {
  const rules = compile(root.policy.effective.files?.ignore, root.dotIgnoreLines);
  return new Context([], rules.length === 0 ? [] : [{ depth: 0, rules }]);
}

/** The rules in a dot-ignore file: its lines without comments and blank ones. */
export function parseIgnoreLines(bytes: Uint8Array): readonly string[] {
  return fromUtf8(bytes)
    .split(/\r?\n/)
    .filter((line) => !line.startsWith("#") && line.trim() !== "");
}

/** Rules that stand `depth` directories below the root. */
interface Level {
  readonly depth: number;
  readonly rules: readonly IgnorePattern[];
}

class Context implements IgnoreContext {
  readonly #directory: readonly string[];
  readonly #levels: readonly Level[];

  constructor(directory: readonly string[], levels: readonly Level[]) {
    this.#directory = directory;
    this.#levels = levels;
  }

  get isEmpty(): boolean {
    return this.#levels.length === 0;
  }

  isIgnored(name: string, isDirectory: boolean): boolean {
    if (this.#levels.length === 0) {
      return false;
    }
    const path = [...this.#directory, name];
    let ignored = false;
    for (const { depth, rules } of this.#levels) {
      for (const rule of rules) {
        // Only a rule that could change the verdict is looked at.
        if (rule.negated === ignored && matchesPath(rule, path, depth, isDirectory)) {
          ignored = !ignored;
        }
      }
    }
    return ignored;
  }

  enter(name: string, { policy, dotIgnoreLines }: DirectoryRules): IgnoreContext {
    const directory = [...this.#directory, name];
    const own = policy.defined?.files;
    const rules = compile(own?.ignore, dotIgnoreLines);
    const inherited = own?.noParentIgnore === true ? [] : this.#levels;
    return new Context(
      directory,
      rules.length === 0 ? inherited : [...inherited, { depth: directory.length, rules }],
    );
  }
}

function compile(
  policyRules: readonly string[] | undefined,
  lines: readonly string[] | undefined,
): readonly IgnorePattern[] {
  return [...(policyRules ?? []), ...(lines ?? [])].map(compilePattern);
}
