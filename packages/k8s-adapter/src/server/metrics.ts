import { Counter, Gauge, Histogram, Registry } from "prom-client";

/**
 * What a server and a node-agent count, in a registry of their own. Names are Velero's where Velero has them, so that
 * dashboards and alerts go on working.
 */

interface Definition {
  readonly help: string;
  readonly labels?: readonly string[];
}

type CounterName =
  | "velero_backup_attempt_total"
  | "velero_backup_success_total"
  | "velero_backup_partial_failure_total"
  | "velero_backup_failure_total"
  | "velero_backup_validation_failure_total"
  | "velero_backup_deletion_attempt_total"
  | "velero_backup_deletion_success_total"
  | "velero_backup_deletion_failure_total"
  | "velero_restore_attempt_total"
  | "velero_restore_success_total"
  | "velero_restore_partial_failure_total"
  | "velero_restore_failed_total"
  | "velero_restore_validation_failed_total"
  | "velero_pod_volume_backup_enqueue_count"
  | "velero_pod_volume_backup_dequeue_count"
  | "varve_schedule_skipped_total"
  | "varve_reconcile_errors_total";

const COUNTERS: Readonly<Record<CounterName, Definition>> = {
  velero_backup_attempt_total: { help: "Backups begun", labels: ["schedule"] },
  velero_backup_success_total: { help: "Backups completed", labels: ["schedule"] },
  velero_backup_partial_failure_total: {
    help: "Backups that ended with errors",
    labels: ["schedule"],
  },
  velero_backup_failure_total: { help: "Backups that failed", labels: ["schedule"] },
  velero_backup_validation_failure_total: {
    help: "Backups that were not valid",
    labels: ["schedule"],
  },
  velero_backup_deletion_attempt_total: { help: "Deletions of backups begun" },
  velero_backup_deletion_success_total: { help: "Backups deleted" },
  velero_backup_deletion_failure_total: { help: "Deletions of backups that ended with errors" },
  velero_restore_attempt_total: { help: "Restores begun", labels: ["schedule"] },
  velero_restore_success_total: { help: "Restores completed", labels: ["schedule"] },
  velero_restore_partial_failure_total: {
    help: "Restores that ended with errors",
    labels: ["schedule"],
  },
  velero_restore_failed_total: { help: "Restores that failed", labels: ["schedule"] },
  velero_restore_validation_failed_total: {
    help: "Restores that were not valid",
    labels: ["schedule"],
  },
  velero_pod_volume_backup_enqueue_count: { help: "Volumes to back up", labels: ["node"] },
  velero_pod_volume_backup_dequeue_count: { help: "Volumes backed up", labels: ["node"] },
  varve_schedule_skipped_total: {
    help: "Times at which a schedule was due while its last backup still ran",
    labels: ["schedule"],
  },
  varve_reconcile_errors_total: {
    help: "Calls of a controller that threw",
    labels: ["controller"],
  },
};

type GaugeName =
  | "velero_backup_total"
  | "velero_restore_total"
  | "velero_backup_last_successful_timestamp"
  | "velero_backup_last_status"
  | "velero_backup_items_total"
  | "velero_backup_items_errors"
  | "velero_backup_tarball_size_bytes"
  | "varve_location_available";

const GAUGES: Readonly<Record<GaugeName, Definition>> = {
  velero_backup_total: { help: "Backups there are" },
  velero_restore_total: { help: "Restores there are" },
  velero_backup_last_successful_timestamp: {
    help: "When a backup of the schedule last completed, seconds since the epoch",
    labels: ["schedule"],
  },
  velero_backup_last_status: {
    help: "1 when the last backup of the schedule completed, 0 otherwise",
    labels: ["schedule"],
  },
  velero_backup_items_total: { help: "Objects in the last backup", labels: ["schedule"] },
  velero_backup_items_errors: { help: "Errors of the last backup", labels: ["schedule"] },
  velero_backup_tarball_size_bytes: {
    help: "Size of the last backup's tarball",
    labels: ["schedule"],
  },
  varve_location_available: {
    help: "1 when the backup storage location can be used",
    labels: ["location"],
  },
};

type HistogramName = "velero_backup_duration_seconds";

const HISTOGRAMS: Readonly<Record<HistogramName, Definition>> = {
  velero_backup_duration_seconds: { help: "How long backups took", labels: ["schedule"] },
};

const DURATION_BUCKETS = [60, 300, 600, 1800, 3600, 7200, 14_400, 28_800];

type MetricLabels = Readonly<Record<string, string>>;

export class Metrics {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #histograms = new Map<string, Histogram>();

  constructor() {
    const registers = [this.#registry];
    for (const [name, { help, labels }] of definitionsOf(COUNTERS)) {
      this.#counters.set(name, new Counter({ name, help, labelNames: labels, registers }));
    }
    for (const [name, { help, labels }] of definitionsOf(GAUGES)) {
      this.#gauges.set(name, new Gauge({ name, help, labelNames: labels, registers }));
    }
    for (const [name, { help, labels }] of definitionsOf(HISTOGRAMS)) {
      const buckets = DURATION_BUCKETS;
      const settings = { name, help, labelNames: labels, buckets, registers };
      this.#histograms.set(name, new Histogram(settings));
    }
  }

  count(name: CounterName, labels: MetricLabels = {}): void {
    this.#counters.get(name)?.inc(labels);
  }

  set(name: GaugeName, value: number, labels: MetricLabels = {}): void {
    this.#gauges.get(name)?.set(labels, value);
  }

  observe(name: HistogramName, value: number, labels: MetricLabels = {}): void {
    this.#histograms.get(name)?.observe(labels, value);
  }

  /** In the text format of Prometheus. */
  async text(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }
}

function definitionsOf(
  table: Readonly<Record<string, Definition>>,
): [string, { help: string; labels: string[] }][] {
  return Object.entries(table).map(([name, { help, labels = [] }]) => [
    name,
    { help, labels: [...labels] },
  ]);
}
