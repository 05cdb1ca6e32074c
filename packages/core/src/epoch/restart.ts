import type { CallOptions, Environment } from "../base/environment.ts";
import type { VarveError } from "../base/errors.ts";

const MAX_ATTEMPTS = 10;
const FIRST_PAUSE_MS = 100;

export type Attempt<T> = { readonly done: T } | { readonly restart: VarveError };

/** Up to ten attempts, with pauses that double from 100 ms on (spec §4.5); then throws what the last one saw. */
export async function withRestarts<T>(
  { environment, signal }: CallOptions & { environment: Environment },
  attempt: () => Promise<Attempt<T>>,
): Promise<T> {
  for (let count = 1; ; count++) {
    const outcome = await attempt();
    if ("done" in outcome) {
      return outcome.done;
    }
    if (count === MAX_ATTEMPTS) {
      throw outcome.restart;
    }
    environment.log({ level: "info", message: `starting again: ${outcome.restart.message}` });
    await environment.sleep(FIRST_PAUSE_MS * 2 ** (count - 1), { signal });
  }
}
