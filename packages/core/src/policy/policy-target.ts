import { VarveError } from "../base/errors.ts";
import type { Labels } from "../manifest/manifest-store.ts";
import { formatSource, parseSource } from "../snapshot/snapshots.ts";

/** What a policy is defined on: a path of a user on a host, a user on a host, a host, or everything (behaviour §2.1). */
export type PolicyTarget =
  | {
      readonly type: "path";
      readonly host: string;
      readonly userName: string;
      readonly path: string;
    }
  | { readonly type: "user"; readonly host: string; readonly userName: string }
  | { readonly type: "host"; readonly host: string }
  | { readonly type: "global" };

export const POLICY_TYPE = "policy";
export const GLOBAL_TARGET: PolicyTarget = { type: "global" };

/** The labels of a policy's manifest (spec §6.2). */
export function policyLabels(target: PolicyTarget): Labels {
  return {
    type: POLICY_TYPE,
    policyType: target.type,
    ...(target.type === "global" ? {} : { hostname: target.host }),
    ...(target.type === "user" || target.type === "path" ? { username: target.userName } : {}),
    ...(target.type === "path" ? { path: target.path } : {}),
  };
}

/** The target that labels of unknown origin mean, if any. */
export function targetOfLabels(labels: Labels): PolicyTarget | undefined {
  const { policyType, hostname, username, path } = labels;
  if (policyType === "global") {
    return GLOBAL_TARGET;
  }
  if (hostname === undefined) {
    return undefined;
  }
  if (policyType === "host") {
    return { type: "host", host: hostname };
  }
  if (username === undefined) {
    return undefined;
  }
  if (policyType === "user") {
    return { type: "user", host: hostname, userName: username };
  }
  return policyType === "path" && path !== undefined
    ? { type: "path", host: hostname, userName: username, path }
    : undefined;
}

/**
 * Reads `(global)` or `--global`, `@host`, `user@host`, `user@host:/path`, or an absolute path, which belongs to `client`.
 * Throws `invalid-argument`.
 */
export function parseTarget(
  text: string,
  client: { readonly hostname: string; readonly username: string },
): PolicyTarget {
  if (text === "(global)" || text === "--global") {
    return GLOBAL_TARGET;
  }
  if (/^(?:[/\\]|[A-Za-z]:[/\\])/.test(text)) {
    return {
      type: "path",
      host: client.hostname,
      userName: client.username,
      path: cleanPath(text),
    };
  }
  const [, userName, host] = /^([^@:]*)@([^@:]+)$/.exec(text) ?? [];
  if (userName !== undefined && host !== undefined) {
    return userName === "" ? { type: "host", host } : { type: "user", host, userName };
  }
  try {
    return { type: "path", ...parseSource(text) };
  } catch (cause) {
    throw new VarveError("invalid-argument", `not a policy target: ${JSON.stringify(text)}`, {
      cause,
    });
  }
}

/** The text that {@link parseTarget} reads. */
export function formatTarget(target: PolicyTarget): string {
  switch (target.type) {
    case "global":
      return "(global)";
    case "host":
      return `@${target.host}`;
    case "user":
      return `${target.userName}@${target.host}`;
    default:
      return formatSource(target);
  }
}

/** The targets whose policies a target inherits, nearest first, itself included. */
export function inheritanceChain(target: PolicyTarget): readonly PolicyTarget[] {
  switch (target.type) {
    case "global":
      return [target];
    case "host":
      return [target, GLOBAL_TARGET];
    case "user":
      return [target, ...inheritanceChain({ type: "host", host: target.host })];
    default: {
      const parent = parentPath(target.path);
      return [
        target,
        ...(parent === undefined
          ? inheritanceChain({ type: "user", host: target.host, userName: target.userName })
          : inheritanceChain({ ...target, path: parent })),
      ];
    }
  }
}

/** Components of `path` below `ancestor`; nothing when it does not lie strictly below. */
export function componentsBelow(ancestor: string, path: string): readonly string[] | undefined {
  const separator = isWindowsPath(ancestor) ? /[/\\]/ : /\//;
  const base = isRoot(ancestor) ? ancestor.slice(0, -1) : ancestor;
  if (!path.startsWith(base) || !separator.test(path.charAt(base.length))) {
    return undefined;
  }
  const components = path.slice(base.length + 1).split(separator);
  return components.includes("") ? undefined : components;
}

/** True for `/`, `C:\` and `\\`. */
export function isRoot(path: string): boolean {
  return /^(?:[A-Za-z]:)?[/\\]$/.test(path);
}

function parentPath(path: string): string | undefined {
  const last = isWindowsPath(path)
    ? Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"))
    : path.lastIndexOf("/");
  if (last < 0 || isRoot(path)) {
    return undefined;
  }
  const first = /^[A-Za-z]:[/\\]/.test(path) ? 2 : 0;
  return path.slice(0, last === first ? last + 1 : last);
}

function isWindowsPath(path: string): boolean {
  return /^(?:[A-Za-z]:)?\\|^[A-Za-z]:\//.test(path);
}

/** Without a separator at the end, as Kopia wants the paths of policies. */
function cleanPath(path: string): string {
  const trimmed = path.replace(isWindowsPath(path) ? /[/\\]+$/ : /\/+$/, "");
  return /^(?:[A-Za-z]:)?$/.test(trimmed) ? path.slice(0, trimmed.length + 1) : trimmed;
}
