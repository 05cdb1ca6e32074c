import type { JsonObject } from "./format.ts";

/**
 * `ours` over `stored`: what only `stored` has is kept, at every depth that `ours` has objects; a member that is
 * `undefined` in `ours` goes. Keys of `stored` match in any case, as Kopia reads them.
 */
export function mergeJson(stored: JsonObject | undefined, ours: JsonObject): JsonObject {
  const merged = new Map(Object.entries(stored ?? {}));
  for (const [key, value] of Object.entries(ours)) {
    const spellings = [...merged.keys()].filter(
      (other) => other.toLowerCase() === key.toLowerCase(),
    );
    const previous = merged.get(merged.has(key) ? key : (spellings[0] ?? key));
    for (const other of spellings) {
      if (other !== key || value === undefined) {
        merged.delete(other);
      }
    }
    if (value !== undefined) {
      const below = isJsonObject(previous) ? previous : undefined;
      merged.set(key, isJsonObject(value) ? mergeJson(below, value) : value);
    }
  }
  return Object.fromEntries(merged);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
