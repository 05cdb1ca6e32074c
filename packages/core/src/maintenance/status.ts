import type { CallOptions } from "../base/environment.ts";
import { openCrypto } from "../crypto/registry.ts";
import {
  getMaintenance,
  type MaintenanceParameters,
} from "../repository/maintenance-parameters.ts";
import type { Repository } from "../repository/repository.ts";
import { type MaintenanceSchedule, readSchedule } from "./schedule.ts";

export interface MaintenanceStatus {
  /** Left out when nobody owns maintenance yet. */
  readonly parameters: MaintenanceParameters | undefined;
  readonly schedule: MaintenanceSchedule;
}

/** Who maintains the repository, when next, and what was done. */
export async function maintenanceStatus(
  repository: Repository,
  { signal }: CallOptions = {},
): Promise<MaintenanceStatus> {
  const { blobs: store, format } = repository;
  const crypto = await openCrypto({ hashes: [] });
  return {
    parameters: await getMaintenance(repository, { signal }),
    schedule: await readSchedule({ store, format, crypto }, { signal }),
  };
}
