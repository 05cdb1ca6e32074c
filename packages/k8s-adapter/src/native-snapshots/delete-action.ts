import { errorMessage } from "@varve/core";
import type { DeleteAction } from "../deletion/delete-backup.ts";
import { readNativeSnapshots } from "./native-snapshot.ts";
import { openSnapshotter } from "./snapshot-locations.ts";
import type { VolumeSnapshotters } from "./volume-snapshotter.ts";

/** The snapshots of a deleted backup leave their providers: spec section 8.2 step 4. */
export function nativeSnapshotDeleteAction(snapshotters: VolumeSnapshotters): DeleteAction {
  return {
    name: "native snapshots",
    async execute({ context, backup, location, signal }) {
      const { name } = backup.metadata;
      const errors: string[] = [];
      for (const { spec, snapshotId } of await readNativeSnapshots(
        location.backupFiles(name),
        name,
        { signal },
      )) {
        try {
          const options = { signal };
          const snapshotter = await openSnapshotter(context, snapshotters, spec.location, options);
          await snapshotter.deleteSnapshot(snapshotId, options);
        } catch (error) {
          signal?.throwIfAborted();
          errors.push(`snapshot ${snapshotId}: ${errorMessage(error)}`);
        }
      }
      return errors;
    },
  };
}
