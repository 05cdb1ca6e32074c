import { errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import type { BlobInfo } from "../blob/store.ts";
import { addUsage, NO_USAGE, type Usage } from "../blob/meter.ts";
import type { Allowance } from "./allowance.ts";
import {
  type MaintenanceSchedule,
  RECORDED_LATER,
  type ScheduleDeps,
  type TaskName,
  withRun,
  writeSchedule,
} from "./schedule.ts";

export interface TaskReport {
  readonly task: TaskName;
  /** What the step counted; none when it was left out. */
  readonly counts?: Readonly<Record<string, number>> | undefined;
  /** Why it was left out. */
  readonly skipped?: string | undefined;
  /** What was asked of storage, where the store has a meter. */
  readonly usage?: Usage | undefined;
}

export interface TaskLogOptions {
  readonly deps: ScheduleDeps;
  readonly schedule: MaintenanceSchedule;
  /** Where reports go. */
  readonly tasks: TaskReport[];
  readonly signal: AbortSignal | undefined;
  readonly allowance: Allowance | undefined;
  /** Called when a step begins. */
  readonly onTask: ((task: TaskName) => void) | undefined;
  /** Called when a step has ended and is recorded, unless it failed. */
  readonly onTaskEnd: ((task: TaskName) => void) | undefined;
}

type Work = () => Promise<Readonly<Record<string, number>>>;

/** Runs the steps of maintenance and keeps the history of them. */
export class TaskLog {
  readonly tasks: TaskReport[];
  schedule: MaintenanceSchedule;
  readonly #options: TaskLogOptions;
  #isUnsaved = false;

  constructor(options: TaskLogOptions) {
    this.#options = options;
    this.tasks = options.tasks;
    this.schedule = options.schedule;
  }

  skip(task: TaskName, skipped: string): void {
    this.tasks.push({ task, skipped });
  }

  /** Runs a step and records it, also when it fails. Throws `over-plan` before a step that the plan has no room for. */
  async run(task: TaskName, work: Work): Promise<void> {
    const { environment } = this.#options.deps;
    await this.#carryOut(task, async () => {
      const startMs = environment.nowMs();
      const note = (success: boolean, error?: string): void => {
        const run = { startMs, endMs: environment.nowMs(), success, error };
        this.schedule = withRun(this.schedule, task, run);
        this.#isUnsaved = true;
      };
      let counts: Readonly<Record<string, number>>;
      try {
        counts = await work();
      } catch (error) {
        note(false, errorMessage(error));
        throw error;
      }
      note(true);
      if (!RECORDED_LATER.has(task)) {
        await this.finish();
      }
      return counts;
    });
  }

  /** For a store that may have no room for a record; else as {@link run}. */
  async runUnrecorded(task: TaskName, work: Work): Promise<void> {
    await this.#carryOut(task, work);
  }

  async #carryOut(task: TaskName, work: Work): Promise<void> {
    const { deps, signal, allowance, onTask, onTaskEnd } = this.#options;
    const { meter } = deps.store;
    signal?.throwIfAborted();
    const objection = allowance?.objectionTo(task);
    if (objection !== undefined) {
      await this.finish().catch(() => {}); // what stops it must be seen
      throw new VarveError("over-plan", `before ${task}: ${objection}`);
    }
    onTask?.(task);
    const before = meter?.used ?? NO_USAGE;
    let counts: Readonly<Record<string, number>>;
    try {
      counts = await work();
    } catch (error) {
      await this.finish().catch(() => {}); // the step's own failure is what must be seen
      const cause = meter?.refusal ?? error; // whatever a layer above has made of it
      throw isVarveError(cause, "over-plan")
        ? new VarveError("over-plan", `in ${task}: ${cause.message}`, { cause: error })
        : error;
    }
    this.tasks.push({ task, counts, usage: meter && addUsage(meter.used, before, -1) });
    onTaskEnd?.(task);
  }

  /** Records what is not recorded yet. */
  async finish(): Promise<void> {
    const { allowance } = this.#options;
    const save = async (): Promise<void> => void (await this.save());
    if (this.#isUnsaved) {
      await (allowance === undefined ? save() : allowance.withReserve(save));
    }
  }

  /** The result carries storage's time. */
  async save(): Promise<BlobInfo> {
    const { deps, signal } = this.#options;
    this.#isUnsaved = false;
    return await writeSchedule(deps, this.schedule, { signal });
  }
}
