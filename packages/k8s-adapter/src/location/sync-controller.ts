import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { formatTime, parseDuration, parseTime } from "../velero/duration.ts";
import { type BackupStorageLocation, VELERO } from "../velero/resources.ts";
import { locationController, patchLocation } from "./location-controller.ts";
import { syncBackups } from "./sync-backups.ts";

/** Brings the backups of every available location into the cluster, period by period (spec section 3.7). */
function syncController(): Controller {
  return {
    name: "backup-sync",
    type: VELERO.backupStorageLocations,
    async reconcile(context, object, options) {
      const resource = object as BackupStorageLocation; // of this type, by the API
      const { name } = resource.metadata;
      const periodMs = periodOf(context, resource);
      if (periodMs === 0 || resource.status?.phase !== "Available") {
        return undefined; // a change of either comes by itself
      }
      const nowMs = context.environment.nowMs();
      const dueMs = (parseTime(resource.status.lastSyncedTime) ?? 0) + periodMs;
      if (dueMs > nowMs) {
        return { againMs: dueMs - nowMs };
      }
      await using location = await context.locations.open(name, options);
      await syncBackups(context, location, options);
      const lastSyncedTime = formatTime(context.environment.nowMs());
      await patchLocation(context, name, { status: { lastSyncedTime } }, options);
      return { againMs: periodMs };
    },
  };
}

/** 0: never. */
function periodOf({ settings }: Context, { spec }: BackupStorageLocation): number {
  const ms = parseDuration(spec.backupSyncPeriod ?? "");
  return ms === undefined || ms < 0 ? settings.backupSyncMs : ms;
}

/** What looks after BackupStorageLocations, and brings the backups in them into the cluster. */
export function locationControllers(): Controller[] {
  return [locationController(), syncController()];
}
