import { InvalidArgumentError } from "commander";
import { parseDurationMs } from "../options.ts";
import { formatBytes, formatDuration, printableName } from "../output.ts";

/** The members of a policy as people see them: a flag of `policy set`, a line of `policy show`. */

export interface PolicySetting {
  /** Dotted member name. */
  readonly field: string;
  readonly section: string;
  readonly label: string;
  /** Without dashes; lists have `add-`, `remove-` and `clear-` before it. Left out for what only `policy import` sets. */
  readonly flag?: string;
  readonly kind: SettingKind;
}

interface SettingKind {
  /** What stands for the value in the help; left out for lists, which are changed one item at a time. */
  readonly placeholder?: string;
  /** Throws `InvalidArgumentError`. */
  readonly parse: (text: string) => unknown;
  readonly format: (value: unknown) => string;
}

/** The value of a flag; `undefined` clears the member, so that it is inherited. */
export interface SettingValue {
  readonly value: unknown;
}

export const INHERIT = "inherit";

/** The argument of a flag: `inherit`, or what its kind understands. */
export function parseSetting({ kind }: PolicySetting): (text: string) => SettingValue {
  return (text) => ({ value: text === INHERIT || text === "" ? undefined : kind.parse(text) });
}

function plain(value: unknown): string {
  return printableName(String(value));
}

function integer(least: number, most: number = Number.MAX_SAFE_INTEGER): SettingKind["parse"] {
  return (text) => {
    const value = Number(text);
    if (!/^-?\d+$/.test(text) || value < least || value > most) {
      const range = most < Number.MAX_SAFE_INTEGER ? `${least} to ${most}` : `${least} up`;
      throw new InvalidArgumentError(`not a whole number from ${range}, nor ${INHERIT}`);
    }
    return value;
  };
}

const COUNT: SettingKind = { placeholder: "n", parse: integer(0), format: plain };
const LEVEL: SettingKind = { placeholder: "0-10", parse: integer(0, 10), format: plain };
const BYTES: SettingKind = {
  placeholder: "bytes",
  parse: integer(0),
  format: (value) => (value === 0 ? "no limit" : formatBytes(Number(value))),
};
const MEBIBYTES: SettingKind = {
  placeholder: "mib",
  parse: (text) => Number(integer(-1, 2 ** 33)(text)) * 1024 * 1024,
  format: (value) => (Number(value) < 0 ? "never" : formatBytes(Number(value))),
};
const NAME: SettingKind = { placeholder: "name", parse: (text) => text, format: plain };
const LIST: SettingKind = {
  parse: (text) => text,
  format: (value) => (Array.isArray(value) ? value.map(plain).join(", ") : plain(value)),
};

const SWITCH: SettingKind = {
  placeholder: "true|false",
  parse: (text) => {
    if (text !== "true" && text !== "false") {
      throw new InvalidArgumentError(`neither true, false nor ${INHERIT}`);
    }
    return text === "true";
  },
  format: plain,
};

const INTERVAL: SettingKind = {
  placeholder: "duration",
  parse: (text) => {
    const seconds = parseDurationMs(text) / 1000;
    if (!Number.isSafeInteger(seconds)) {
      throw new InvalidArgumentError("not a whole number of seconds");
    }
    return seconds === 0 ? undefined : seconds;
  },
  format: (value) => formatDuration(Number(value) * 1000),
};

const TIMES: SettingKind = {
  placeholder: "HH:mm,…",
  parse: (text) => {
    const times = text.split(",").map((time) => {
      const match = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(time.trim());
      if (match === null) {
        throw new InvalidArgumentError("not times of day like 9:30,18:00");
      }
      return { hour: Number(match[1]), min: Number(match[2]) };
    });
    return times.sort((a, b) => a.hour - b.hour || a.min - b.min);
  },
  format: (value) =>
    (value as readonly { hour: number; min: number }[]) // members of type times are these, checked when they were read
      .map(({ hour, min }) => `${hour}:${String(min).padStart(2, "0")}`)
      .join(", "),
};

const CRON: SettingKind = {
  placeholder: "expression;…",
  parse: (text) => text.split(";").map((expression) => expression.trim()),
  format: (value) => (Array.isArray(value) ? value.map(plain).join("; ") : plain(value)),
};

const SHADOW_COPY_MODES = ["never", "always", "when-available"];
const SHADOW_COPY: SettingKind = {
  placeholder: "mode",
  parse: (text) => {
    const mode = SHADOW_COPY_MODES.indexOf(text);
    if (mode < 0) {
      throw new InvalidArgumentError(`known are ${SHADOW_COPY_MODES.join(", ")}, ${INHERIT}`);
    }
    return mode;
  },
  format: (value) => SHADOW_COPY_MODES[Number(value)] ?? plain(value),
};

/** As far as it is shown. */
interface ActionCommand {
  readonly path?: string;
  readonly args?: readonly string[];
  readonly script?: string;
}

/** Set by flags of its own (policy-actions.ts). */
const ACTION: SettingKind = {
  parse: (text) => text,
  format: (value) => {
    const { path, args = [], script } = value as ActionCommand; // checked when it was read
    return plain(script === undefined ? [path, ...args].join(" ") : "(a stored script)");
  },
};

type Row = readonly [field: string, label: string, kind: SettingKind, flag?: string];

const SECTIONS: Readonly<Record<string, readonly Row[]>> = {
  Retention: [
    ["retention.keepAnnual", "Annual snapshots", COUNT, "keep-annual"],
    ["retention.keepMonthly", "Monthly snapshots", COUNT, "keep-monthly"],
    ["retention.keepWeekly", "Weekly snapshots", COUNT, "keep-weekly"],
    ["retention.keepDaily", "Daily snapshots", COUNT, "keep-daily"],
    ["retention.keepHourly", "Hourly snapshots", COUNT, "keep-hourly"],
    ["retention.keepLatest", "Latest snapshots", COUNT, "keep-latest"],
    [
      "retention.ignoreIdenticalSnapshots",
      "Skip identical snapshots",
      SWITCH,
      "ignore-identical-snapshots",
    ],
  ],
  Files: [
    ["files.ignore", "Ignore rules", LIST, "ignore"],
    ["files.noParentIgnore", "Drop inherited ignore rules", SWITCH],
    ["files.ignoreDotFiles", "Files with ignore rules", LIST, "dot-ignore"],
    ["files.noParentDotFiles", "Drop inherited names of such files", SWITCH],
    ["files.ignoreCacheDirs", "Ignore cache directories", SWITCH, "ignore-cache-dirs"],
    ["files.maxFileSize", "Ignore files above", BYTES, "max-file-size"],
    ["files.oneFileSystem", "Stay on one file system", SWITCH, "one-file-system"],
  ],
  Errors: [
    ["errorHandling.ignoreFileErrors", "Ignore file errors", SWITCH, "ignore-file-errors"],
    ["errorHandling.ignoreDirectoryErrors", "Ignore directory errors", SWITCH, "ignore-dir-errors"],
    ["errorHandling.ignoreUnknownTypes", "Ignore unknown types", SWITCH, "ignore-unknown-types"],
  ],
  Schedule: [
    ["scheduling.intervalSeconds", "Interval", INTERVAL, "snapshot-interval"],
    ["scheduling.timeOfDay", "Times of day", TIMES, "snapshot-time"],
    ["scheduling.noParentTimeOfDay", "Drop inherited times of day", SWITCH],
    ["scheduling.cron", "Cron", CRON, "snapshot-time-crontab"],
    ["scheduling.runMissed", "Run missed snapshots", SWITCH, "run-missed"],
    ["scheduling.manual", "Only by hand", SWITCH],
  ],
  Upload: [
    ["upload.maxParallelSnapshots", "Snapshots at once (server)", COUNT, "max-parallel-snapshots"],
    ["upload.maxParallelFileReads", "Files read at once", COUNT, "max-parallel-file-reads"],
    [
      "upload.parallelUploadAboveSize",
      "Read in sections above",
      MEBIBYTES,
      "parallel-upload-above-size-mib",
    ],
  ],
  Compression: [
    ["compression.compressorName", "Of files", NAME, "compression"],
    ["compression.onlyCompress", "Always compress", LIST, "only-compress"],
    ["compression.noParentOnlyCompress", "Drop what is inherited of these", SWITCH],
    ["compression.neverCompress", "Never compress", LIST, "never-compress"],
    ["compression.noParentNeverCompress", "Drop what is inherited of those", SWITCH],
    ["compression.minSize", "Compress files from", BYTES, "compression-min-size"],
    ["compression.maxSize", "Compress files up to", BYTES, "compression-max-size"],
    ["metadataCompression.compressorName", "Of directories", NAME, "metadata-compression"],
  ],
  Splitter: [["splitter.algorithm", "Splitter", NAME, "splitter"]],
  Actions: [
    ["actions.beforeFolder", "Before folder", ACTION],
    ["actions.afterFolder", "After folder", ACTION],
    ["actions.beforeSnapshotRoot", "Before snapshot", ACTION],
    ["actions.afterSnapshotRoot", "After snapshot", ACTION],
  ],
  "System snapshots": [
    [
      "osSnapshots.volumeShadowCopy.enable",
      "Volume Shadow Copy",
      SHADOW_COPY,
      "enable-volume-shadow-copy",
    ],
  ],
  "Log details, 0 none to 10 all": [
    ["logging.directories.snapshotted", "Directory stored", LEVEL, "log-dir-snapshotted"],
    ["logging.directories.ignored", "Directory ignored", LEVEL, "log-dir-ignored"],
    ["logging.entries.snapshotted", "Entry stored", LEVEL, "log-entry-snapshotted"],
    ["logging.entries.ignored", "Entry ignored", LEVEL, "log-entry-ignored"],
    ["logging.entries.cacheHit", "Entry unchanged", LEVEL, "log-entry-cache-hit"],
    ["logging.entries.cacheMiss", "Entry changed", LEVEL, "log-entry-cache-miss"],
  ],
  Inheritance: [["noParent", "Inherit nothing", SWITCH]],
};

export const POLICY_SETTINGS: readonly PolicySetting[] = Object.entries(SECTIONS).flatMap(
  ([section, rows]) =>
    rows.map(([field, label, kind, flag]) => ({
      field,
      section,
      label,
      kind,
      ...(flag === undefined ? {} : { flag }),
    })),
);
