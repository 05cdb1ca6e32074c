import type { EntryMeta } from "@varve/core";

const TYPE_LETTERS = { directory: "d", file: "-", symlink: "l" } as const;

/** `drwxr-xr-x`, as `ls` writes it. */
export function modeText({ type, mode }: Pick<EntryMeta, "type" | "mode">): string {
  const special = [0o4000, 0o2000, 0o1000];
  const letters = [6, 3, 0].map((shift, index) => {
    const bits = mode >> shift;
    const execute = (bits & 1) !== 0;
    const marked = (mode & (special[index] ?? 0)) !== 0;
    const mark = index === 2 ? "t" : "s";
    const last = marked ? (execute ? mark : mark.toUpperCase()) : execute ? "x" : "-";
    return `${(bits & 4) !== 0 ? "r" : "-"}${(bits & 2) !== 0 ? "w" : "-"}${last}`;
  });
  return TYPE_LETTERS[type] + letters.join("");
}
