import { lstatSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { CallOptions, Environment } from "@varve/core";
import { MARKER_FOLDER } from "./volume-tree.ts";

/** What the `restore-wait` container does: waits until every volume that it sees carries the marker of the restore. */
export async function waitForVolumes(
  restoreUid: string,
  {
    environment,
    folder = "/restores",
    signal,
  }: CallOptions & { readonly environment: Environment; readonly folder?: string | undefined },
): Promise<void> {
  const volumes = readdirSync(folder).map((name) => join(folder, name));
  for (const volume of volumes) {
    const marker = join(volume, MARKER_FOLDER, restoreUid);
    while (lstatSync(marker, { throwIfNoEntry: false }) === undefined) {
      await environment.sleep(1000, { signal });
    }
  }
  for (const volume of volumes) {
    try {
      rmSync(join(volume, MARKER_FOLDER), { recursive: true, force: true });
    } catch {
      // Not ours to delete: the node-agent does it.
    }
  }
}
