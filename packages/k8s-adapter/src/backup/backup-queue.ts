import type { CallOptions } from "@varve/core";
import type { Context } from "../server/context.ts";
import { type Backup, VELERO } from "../velero/resources.ts";
import { listNamespaces } from "./backup-filters.ts";
import { patchBackup } from "./backup-status.ts";
import { createNamespaceFilter } from "./namespace-filter.ts";

/** Which Backup starts when (semantics spec section 2.2). */

const RUNNING = ["ReadyToStart", "InProgress"];

export interface QueueChange {
  readonly backup: Backup;
  readonly position: number;
  readonly start: boolean;
}

/** What is to be changed; pure. `namespacesOf`: what each takes of the cluster as it is. */
export function queueChanges(
  backups: readonly Backup[],
  {
    concurrent,
    namespacesOf,
  }: {
    readonly concurrent: number;
    readonly namespacesOf: (backup: Backup) => ReadonlySet<string>;
  },
): readonly QueueChange[] {
  const phaseOf = ({ status }: Backup): string => status?.phase ?? "";
  const running = backups.filter((backup) => RUNNING.includes(phaseOf(backup)));
  const queued = backups
    .filter((backup) => phaseOf(backup) === "Queued")
    .sort((a, b) => positionOf(a) - positionOf(b) || (a.metadata.name < b.metadata.name ? -1 : 1));
  const fresh = backups
    .filter((backup) => phaseOf(backup) === "" || phaseOf(backup) === "New")
    .sort((a, b) => (age(a) < age(b) ? -1 : 1));
  const earlier = running.map(namespacesOf);
  let free = concurrent - running.length;
  let position = 0;
  return [...queued, ...fresh].flatMap((backup): readonly QueueChange[] => {
    const own = namespacesOf(backup);
    const start = free > 0 && !earlier.some((other) => overlap(own, other));
    earlier.push(own);
    if (start) {
      free--;
      return [{ backup, position: 0, start }];
    }
    position++;
    const unchanged = phaseOf(backup) === "Queued" && positionOf(backup) === position;
    return unchanged ? [] : [{ backup, position, start }];
  });
}

function positionOf({ status }: Backup): number {
  return status?.queuePosition ?? 0;
}

function age({ metadata }: Backup): string {
  return `${metadata.creationTimestamp ?? ""} ${metadata.name}`;
}

function overlap(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return [...a].some((name) => b.has(name));
}

/** Takes new Backups into the queue and starts those that may. */
export async function advanceQueue(context: Context, options: CallOptions): Promise<void> {
  const { items } = await context.kube.listAll(VELERO.backups, {
    namespace: context.namespace,
    ...options,
  });
  const backups = items as readonly Backup[]; // its schema
  const waiting = ["", "New", "Queued"];
  if (!backups.some(({ status }) => waiting.includes(status?.phase ?? ""))) {
    return;
  }
  const { existing, labelled } = await listNamespaces(context, options);
  const changes = queueChanges(backups, {
    concurrent: Math.max(1, context.settings.concurrentBackups),
    namespacesOf: ({ spec }) => {
      const filter = createNamespaceFilter(spec, { existing, labelled });
      return new Set(existing.filter((name) => filter.includes(name)));
    },
  });
  for (const { backup, position, start } of changes) {
    const status = start
      ? ({ phase: "ReadyToStart", queuePosition: null } as const)
      : ({ phase: "Queued", queuePosition: position } as const);
    const { resourceVersion } = backup.metadata;
    await patchBackup(context, backup, { metadata: { resourceVersion }, status }, options);
  }
}
