import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** How many files below `root` this process has open. Linux tells; elsewhere none. */
export function openDescriptors(root: string): number {
  return descriptors().filter((target) => target.startsWith(join(root, "/"))).length;
}

function descriptors(): string[] {
  const directory = "/proc/self/fd";
  return readdirSync(directory).map((name) => {
    try {
      return readlinkSync(join(directory, name));
    } catch {
      return ""; // the one that this directory was listed with
    }
  });
}
