import { VarveError } from "../base/errors.ts";
import { toHex } from "../base/bytes.ts";
import { addUsage, type Meter, NO_USAGE, type Usage } from "../blob/meter.ts";
import type { Repository } from "../repository/repository.ts";
import type { MaintenancePlan } from "./plan-file.ts";
import { limitPassed } from "./prices.ts";
import type { TaskName } from "./schedule.ts";

/** Holds a run to its plan: by the meter, request by request, and by the plan's own figures before each step. */
export interface Allowance {
  /** What speaks against beginning a step: that it would not come to its end. */
  objectionTo(task: TaskName): string | undefined;
  /** What speaks against using so much more. */
  objection(more: Usage): string | undefined;
  /** For the record of a step, whatever has ended it: `work` may use what is held back for it. */
  withReserve(work: () => Promise<void>): Promise<void>;
}

/** The schedule with its history, written once. */
const RESERVE: Usage = {
  requests: { ...NO_USAGE.requests, put: 1 },
  bytesRead: 0,
  bytesWritten: 128 * 1024,
};

/** Throws `invalid-argument` for a plan of another repository, and for a store without a meter. */
export function holdToPlan({ blobs, format }: Repository, plan: MaintenancePlan): Allowance {
  const { limits, prices } = plan;
  if (plan.repository !== toHex(format.uniqueId)) {
    throw new VarveError("invalid-argument", "the plan was made for another repository");
  }
  if (blobs.meter === undefined) {
    throw new VarveError("invalid-argument", "open the repository with meteredStore(store)");
  }
  const meter: Meter = blobs.meter;
  const holdReserve = (): void =>
    meter.setGuard((after) => limitPassed(addUsage(after, RESERVE), limits, prices));
  holdReserve();
  const ahead = plan.steps.filter(({ skipped }) => skipped === undefined);
  return {
    objectionTo: (task) => {
      const index = ahead.findIndex(({ step }) => step === task);
      const [step] = index < 0 ? [] : ahead.splice(index, 1); // it may come again
      return meter.objection(step ?? NO_USAGE);
    },
    objection: (more) => meter.objection(more),
    withReserve: async (work) => {
      meter.setGuard((after) => limitPassed(after, limits, prices));
      try {
        await work();
      } finally {
        holdReserve();
      }
    },
  };
}
