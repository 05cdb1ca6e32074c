import type { CallOptions } from "@varve/core";
import { ignoreMissing } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";
import type { Controller } from "../server/controller.ts";
import { formatTime, parseDuration, parseTime } from "../velero/duration.ts";
import { type BackupStorageLocation, VELERO } from "../velero/resources.ts";
import { redactedMessage, validateLocation } from "./validate-location.ts";

/** Tells of every BackupStorageLocation whether it can be used, again and again; keeps one default (spec section 2.1). */
export function locationController(): Controller {
  /** What was looked at last: another spec is looked at at once. */
  const seen = new Map<string, string>();
  return {
    name: "backup-location",
    type: VELERO.backupStorageLocations,
    workers: 4,
    async reconcile(context, object, options) {
      const location = object as BackupStorageLocation; // of this type, by the API
      const { name } = location.metadata;
      const spec = JSON.stringify([location.metadata.uid, location.spec]);
      if (location.spec.default === true) {
        await keepOneDefault(context, options);
      }
      const dueMs = nextValidationMs(context, location, { isNew: seen.get(name) !== spec });
      const nowMs = context.environment.nowMs();
      if (dueMs === undefined || dueMs > nowMs) {
        seen.set(name, spec);
        return dueMs === undefined ? undefined : { againMs: dueMs - nowMs };
      }
      await validate(context, location, options);
      seen.set(name, spec);
      const periodMs = periodOf(context, location);
      return periodMs === 0 ? undefined : { againMs: periodMs };
    },
    async removed(context, { metadata: { name } }) {
      seen.delete(name);
      context.metrics.set("varve_location_available", 0, { location: name });
    },
  };
}

/** 0: once. */
function periodOf({ settings }: Context, { spec }: BackupStorageLocation): number {
  const ms = parseDuration(spec.validationFrequency ?? "");
  return ms === undefined || ms < 0 ? settings.storeValidationMs : ms;
}

/** `undefined`: never again. */
function nextValidationMs(
  context: Context,
  location: BackupStorageLocation,
  { isNew }: { readonly isNew: boolean },
): number | undefined {
  const lastMs = parseTime(location.status?.lastValidationTime);
  if (lastMs === undefined || isNew) {
    return 0;
  }
  const periodMs = periodOf(context, location);
  return periodMs === 0 ? undefined : lastMs + periodMs;
}

async function validate(
  context: Context,
  { metadata: { name } }: BackupStorageLocation,
  { signal }: CallOptions,
): Promise<void> {
  let message: string | null = null;
  try {
    await using location = await context.locations.open(name, { signal });
    await validateLocation(location, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    message = redactedMessage(error);
    const text = `backup storage location ${name} cannot be used: ${message}`;
    context.environment.log({ level: "warning", message: text });
  }
  const phase = message === null ? "Available" : "Unavailable";
  context.metrics.set("varve_location_available", message === null ? 1 : 0, { location: name });
  const lastValidationTime = formatTime(context.environment.nowMs());
  await patchLocation(
    context,
    name,
    { status: { phase, message, lastValidationTime } },
    { signal },
  );
}

/** The youngest of those that claim it (spec section 2.1). */
async function keepOneDefault(context: Context, { signal }: CallOptions): Promise<void> {
  const { kube, namespace } = context;
  const { items } = await kube.listAll(VELERO.backupStorageLocations, { namespace, signal });
  const defaults = (items as readonly BackupStorageLocation[]) // of this type, by the API
    .filter(({ spec }) => spec.default === true)
    .toSorted((a, b) => ageOf(b) - ageOf(a) || (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const { metadata } of defaults.slice(1)) {
    await patchLocation(context, metadata.name, { spec: { default: false } }, { signal });
  }
}

function ageOf({ metadata }: BackupStorageLocation): number {
  return parseTime(metadata.creationTimestamp) ?? 0;
}

/** One that is gone meanwhile needs no patch. */
export async function patchLocation(
  { kube, namespace }: Context,
  name: string,
  patch: object,
  options: CallOptions,
): Promise<void> {
  const patched = kube.mergePatch(
    VELERO.backupStorageLocations,
    { namespace, name },
    patch,
    options,
  );
  await patched.catch(ignoreMissing);
}
