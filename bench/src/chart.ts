import { PHASE_TITLES, toolsOf } from "./report.ts";
import { duration, megabytes } from "./report-table.ts";
import { type BenchResult, type DatasetResult, findMeasurement, PHASES } from "./result.ts";

/**
 * One SVG for a dataset: a panel for each phase, and one each for memory and size, a bar for each tool. Hand-made, so
 * that it needs nothing to draw it, and readable on a light and on a dark page.
 */
export function renderChart(result: BenchResult, dataset: DatasetResult): string {
  const tools = toolsOf(result, dataset.name);
  const panels = panelsOf(result, dataset.name, tools).filter(({ bars }) =>
    bars.some(({ value }) => value > 0),
  );
  const panelHeight = TITLE_HEIGHT + tools.length * BAR_STEP + PANEL_GAP;
  const rows = Math.ceil(panels.length / COLUMNS);
  const height = HEAD_HEIGHT + rows * panelHeight;
  const width = COLUMNS * PANEL_WIDTH;
  const body = panels.map((panel, index) => {
    const x = (index % COLUMNS) * PANEL_WIDTH;
    const y = HEAD_HEIGHT + Math.floor(index / COLUMNS) * panelHeight;
    return `<g transform="translate(${x} ${y})">\n${renderPanel(panel)}\n</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(dataset.title)}">`,
    `<style>${STYLE}</style>`,
    `<text class="head" x="8" y="22">${escape(dataset.title)} (shorter is better)</text>`,
    ...body,
    "</svg>",
    "",
  ].join("\n");
}

interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

interface Bar {
  readonly tool: string;
  /** 0 when it was not measured. */
  readonly value: number;
  readonly text: string;
}

function panelsOf(result: BenchResult, dataset: string, tools: readonly string[]): Panel[] {
  const panel = (title: string, unit: string, bar: (tool: string) => BarValue): Panel => ({
    title,
    bars: tools.map((tool) => {
      const { value, text } = bar(tool);
      return { tool, value: value ?? 0, text: value === undefined ? "–" : `${text} ${unit}` };
    }),
  });
  const times = PHASES.map((phase) =>
    panel(PHASE_TITLES[phase], "s", (tool) => {
      const value = findMeasurement(result, { dataset, tool, phase })?.seconds.median;
      return { value, text: duration(value ?? 0) };
    }),
  );
  const memory = panel("peak memory of all four", "MB", (tool) => {
    const peaks = PHASES.flatMap(
      (phase) => findMeasurement(result, { dataset, tool, phase })?.peakBytes.median ?? [],
    );
    const value = peaks.length === 0 ? undefined : Math.max(...peaks);
    return { value, text: megabytes(value ?? 0) };
  });
  const stored = panel("repository after the first backup", "MB", (tool) => {
    const cell = findMeasurement(result, { dataset, tool, phase: "first" });
    const value = cell?.storedBytes?.median;
    return { value, text: megabytes(value ?? 0) };
  });
  return [...times, memory, stored];
}

interface BarValue {
  readonly value: number | undefined;
  readonly text: string;
}

const COLUMNS = 2;
const PANEL_WIDTH = 440;
const HEAD_HEIGHT = 36;
const TITLE_HEIGHT = 26;
const BAR_STEP = 18;
const BAR_HEIGHT = 13;
const PANEL_GAP = 14;
const LABEL_WIDTH = 112;
const VALUE_WIDTH = 72;

const STYLE = [
  "text{font:12px system-ui,sans-serif;fill:#57606a}",
  ".head{font-size:15px;font-weight:600}",
  ".title{font-weight:600}",
  ".name{text-anchor:end}",
  "rect{fill:#8c959f}",
  "rect.varve{fill:#1a7f64}",
  "@media(prefers-color-scheme:dark){text{fill:#adbac7}rect{fill:#545d68}rect.varve{fill:#3fb68b}}",
].join("");

function renderPanel({ title, bars }: Panel): string {
  const longest = Math.max(...bars.map(({ value }) => value));
  const space = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH - 16;
  const lines = bars.flatMap(({ tool, value, text }, index) => {
    const y = TITLE_HEIGHT + index * BAR_STEP;
    const width = Math.max(value > 0 ? 1 : 0, Math.round((value / longest) * space));
    const kind = tool.startsWith("varve") ? ` class="varve"` : "";
    return [
      `<text class="name" x="${LABEL_WIDTH}" y="${y + 11}">${escape(tool)}</text>`,
      `<rect${kind} x="${LABEL_WIDTH + 6}" y="${y}" width="${width}" height="${BAR_HEIGHT}"/>`,
      `<text x="${LABEL_WIDTH + 10 + width}" y="${y + 11}">${escape(text)}</text>`,
    ];
  });
  return [`<text class="title" x="8" y="16">${escape(title)}</text>`, ...lines].join("\n");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
