import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { epochFixture, type Fixture, legacyFixture, SNAPSHOTS } from "./damage-fixture.ts";
import { DAMAGES, type DamageKind, type Kind, type Outcome, outcomeOf } from "./damage-table.ts";

/**
 * One blob of each kind is lost or damaged in each way, and what every operation then does is in `docs/damage.md`, which this
 * compares; `VARVE_WRITE_DAMAGE_TABLE=1` writes it anew.
 */

const EPOCHS: readonly Kind[] = [
  { name: "`kopia.repository`", prefix: "kopia.repository" },
  { name: "`varve.repository`, its copy", prefix: "varve.repository" },
  { name: "`kopia.blobcfg`", prefix: "kopia.blobcfg" },
  { name: "`kopia.maintenance`", prefix: "kopia.maintenance" },
  { name: "`p` pack of file data", prefix: "p", isPack: true },
  { name: "`q` pack of directories and manifests", prefix: "q", isPack: true },
  { name: "`xn` index", prefix: "xn" },
  { name: "`xs` index of one epoch", prefix: "xs" },
  { name: "`xr` index of a range of epochs", prefix: "xr" },
  { name: "`xe` epoch marker", prefix: "xe5" },
  { name: "`xw` deletion watermark", prefix: "xw" },
  { name: "`s` session marker", prefix: "s" },
  { name: "`_log_`", prefix: "_log_" },
  { name: "a blob of somebody else", prefix: "udmrepo" },
];

const LEGACY: readonly Kind[] = [
  { name: "`kopia.repository` of format 1", prefix: "kopia.repository", damages: ["missing"] },
  { name: "`n` index of format 1", prefix: "n" },
  { name: "`m` log of a compaction of format 1", prefix: "m" },
];

interface Row {
  readonly kind: Kind;
  readonly damage: DamageKind;
  readonly outcome: Outcome;
}

async function rowsOf(kinds: readonly Kind[], make: (seed: number) => Promise<Fixture>) {
  const [fixture, twin] = [await make(1), await make(2)];
  const rows: Row[] = [];
  for (const kind of kinds) {
    for (const damage of kind.damages ?? DAMAGES) {
      rows.push({ kind, damage, outcome: await outcomeOf(kind, damage, { fixture, twin }) });
    }
  }
  return rows;
}

const COLUMNS = ["open", "list", "verify", "restore", "backup", "maintenance", "repair"] as const;
const BEGIN = "<!-- written by packages/core/test/damage -->";

/** Ways of damage with the same outcome share a line. */
function tableOf(rows: readonly Row[]): string {
  const lines = new Map<string, string[]>();
  for (const { kind, damage, outcome } of rows) {
    const cells = `${kind.name} | {} | ${COLUMNS.map((column) => outcome[column]).join(" | ")}`;
    lines.set(cells, [...(lines.get(cells) ?? []), damage]);
  }
  const head = ["blob", "damage", ...COLUMNS];
  return [
    head,
    head.map(() => "---"),
    ...Array.from(lines, ([cells, damages]) => [
      cells.replace("{}", damages.length === DAMAGES.length ? "any" : damages.join(", ")),
    ]),
  ]
    .map((cells) => `| ${cells.join(" | ")} |\n`)
    .join("");
}

test("one damaged blob never keeps the rest from being opened, listed, verified, restored, backed up", async () => {
  const rows = [...(await rowsOf(EPOCHS, epochFixture)), ...(await rowsOf(LEGACY, legacyFixture))];
  for (const { kind, damage, outcome } of rows) {
    const what = `${kind.name}, ${damage}`;
    if (kind.prefix === "kopia.repository") {
      expect([what, outcome.repair]).toEqual([what, "heals it"]);
      continue;
    }
    expect([what, outcome.open, outcome.backup]).toEqual([
      what,
      expect.stringMatching(/^works/),
      "works",
    ]);
    // What is not whole is said by somebody; what is no data is healed.
    const isWhole = outcome.restore === `${SNAPSHOTS} of ${SNAPSHOTS}`;
    const isSilent = outcome.open === "works" && outcome.verify === "no damage";
    expect([what, isWhole || !isSilent || damage === "missing"]).toEqual([what, true]);
    expect([what, kind.isPack === true || /heals it|nothing/.test(outcome.repair)]).toEqual([
      what,
      true,
    ]);
  }
  const path = new URL("../../../../docs/damage.md", import.meta.url);
  const written = readFileSync(path, "utf8");
  const text = `${written.slice(0, written.indexOf(BEGIN))}${BEGIN}\n\n${tableOf(rows)}`;
  if (process.env["VARVE_WRITE_DAMAGE_TABLE"] === "1") {
    writeFileSync(path, text);
  }
  expect(readFileSync(path, "utf8")).toBe(text);
}, 600_000); // ten seconds of work, also where eight others want the processor
