import type { ResourceRef } from "../kube/kube-api.ts";
import type { CliContext } from "./context.ts";

const FINAL = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation"]);
const POLL_MS = 1000;

/** Waits for the end, and throws unless that is `Completed`. */
export async function waitForPhase(
  { kube, namespace, environment, print }: CliContext,
  type: ResourceRef,
  name: string,
): Promise<void> {
  for (;;) {
    const object = await kube.get(type, { namespace, name });
    const {
      phase = "New",
      validationErrors,
      failureReason,
    } = (object["status"] ?? {}) as {
      phase?: string;
      validationErrors?: readonly string[];
      failureReason?: string;
    };
    if (FINAL.has(phase)) {
      print(`${name}: ${phase}`);
      if (phase !== "Completed") {
        const why = [...(validationErrors ?? []), failureReason ?? ""].filter(
          (text) => text !== "",
        );
        throw new Error(
          `${name} ended as ${phase}${why.length === 0 ? "" : `: ${why.join("; ")}`}`,
        );
      }
      return;
    }
    await environment.sleep(POLL_MS);
  }
}
