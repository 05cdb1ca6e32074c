import type { CallOptions } from "../base/environment.ts";
import { openCrypto } from "../crypto/registry.ts";
import { getMaintenance, type StoredMaintenance } from "../repository/maintenance-parameters.ts";
import type { Repository } from "../repository/repository.ts";
import { withFirstTimes } from "./due.ts";
import { type MaintenanceSchedule, readSchedule } from "./schedule.ts";

export interface MaintenanceStatus {
  /** Left out when nobody owns maintenance yet. */
  readonly parameters: StoredMaintenance | undefined;
  readonly schedule: MaintenanceSchedule;
}

/** Who maintains the repository, when next, and what was done. */
export async function maintenanceStatus(
  repository: Repository,
  { signal }: CallOptions = {},
): Promise<MaintenanceStatus> {
  const { blobs: store, format } = repository;
  const crypto = await openCrypto({ hashes: [] });
  const parameters = await getMaintenance(repository, { signal });
  const schedule = await readSchedule({ store, format, crypto }, { signal });
  return {
    parameters,
    schedule: parameters === undefined ? schedule : withFirstTimes(schedule, parameters),
  };
}
