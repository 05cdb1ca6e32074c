import type { KubeObject } from "../kube/kube-api.ts";
import { parseDuration } from "../velero/duration.ts";

/** Hooks in the annotations of a pod, as backup and restore read them (semantics spec section 6). */

export const DEFAULT_HOOK_TIMEOUT_MS = 30_000;

export type OnError = "Continue" | "Fail";

/** `[…]` is a JSON list of arguments; other text, and bad JSON, is one argument, without a shell. */
export function parseHookCommand(text: string): readonly string[] {
  if (text.startsWith("[")) {
    try {
      const parsed: unknown = JSON.parse(text);
      if (Array.isArray(parsed) && parsed.every((item) => typeof item === "string")) {
        return parsed;
      }
    } catch {
      // taken as it is
    }
  }
  return [text];
}

export function parseOnError(text: string | undefined): OnError | undefined {
  return text === "Continue" || text === "Fail" ? text : undefined;
}

/** Absent and zero mean the default; `bad` when it is not a duration above zero. */
export function parseHookTimeout(text: string | undefined): {
  readonly ms: number;
  readonly bad: boolean;
} {
  if (text === undefined || text === "") {
    return { ms: DEFAULT_HOOK_TIMEOUT_MS, bad: false };
  }
  const ms = parseDuration(text);
  return ms === undefined || ms <= 0
    ? { ms: DEFAULT_HOOK_TIMEOUT_MS, bad: ms !== 0 }
    : { ms, bad: false };
}

/** The first of `keys` that the pod has. */
export function annotation(pod: KubeObject, ...keys: readonly string[]): string | undefined {
  return keys
    .map((key) => pod.metadata.annotations?.[key])
    .find((value) => value !== undefined && value !== "");
}
