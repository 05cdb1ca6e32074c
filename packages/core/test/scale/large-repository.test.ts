import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { buildLargeRepository, maintainLargeRepository } from "./large-repository.ts";

// Ten million take 20 minutes; with the program (see there) their memory can be measured, too.
const CONTENTS = Number(process.env["VARVE_SCALE_CONTENTS"] ?? "2000");

const folder = mkdtempSync(join(tmpdir(), "varve-large-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("full maintenance under a ceiling of 256 MiB does what there is to do", async () => {
  await buildLargeRepository(folder, CONTENTS);
  const maxMemoryBytes = 256 * 1024 * 1024;
  const { report } = await maintainLargeRepository(folder, CONTENTS, { maxMemoryBytes });
  const counts = new Map(report.tasks.map((task) => [task.task, task.counts]));
  expect(counts.get("snapshot-gc")).toMatchObject({ markedDeleted: CONTENTS / 10, missing: 0 });
  expect(counts.get("full-delete-blobs")).toMatchObject({ blobs: 1000 });
  expect(counts.get("compact-single-epoch")).toMatchObject({ epochs: 1 });
  expect(counts.get("generate-epoch-range-index")).toMatchObject({ epochs: 9 });
  const again = await maintainLargeRepository(folder, CONTENTS, { maxMemoryBytes });
  const [collection] = again.report.tasks;
  expect(collection?.counts).toMatchObject({ markedDeleted: 0, missing: 0, recovered: 0 });
});
