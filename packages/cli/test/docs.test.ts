import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { loadWholeProgram } from "../src/program.ts";

/** The documents say what the program does: no command without a section, no flag that there is not. */

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const document = (name: string): string =>
  readFileSync(new URL(`../../../${name}`, import.meta.url), "utf8");

const CLI = document("docs/cli.md");
const tree = await loadWholeProgram();
const commands = commandsBelow(tree, "varve").filter(({ name }) => name !== "varve help");

function commandsBelow(parent: Command, path: string): { name: string; command: Command }[] {
  return parent.commands.flatMap((command) => {
    const name = `${path} ${command.name()}`;
    return [{ name, command }, ...commandsBelow(command, name)];
  });
}

/** The text between the heading of a command and the next heading; `undefined` without one. */
function sectionOf(name: string): string | undefined {
  return CLI.split(/^#+ /m)
    .find((section) => section.startsWith(`\`${name}\`\n`))
    ?.slice(name.length + 2);
}

function longFlagsIn(text: string): string[] {
  return Array.from(text.matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g), ([flag]) => flag);
}

describe("docs/cli.md has", () => {
  test.each(commands.filter(({ command }) => command.commands.length > 0))(
    "a chapter or section for the group $name",
    ({ name }) => {
      const chapter = new RegExp(`^## .*\\b${name.replace("varve ", "")}\\b`, "m");
      expect(sectionOf(name) !== undefined || chapter.test(CLI) || BELOW.includes(name)).toBe(true);
    },
  );

  test.each(commands.filter(({ command }) => command.commands.length === 0))(
    "a section for $name, with all its flags and no others",
    ({ name, command }) => {
      const text = sectionOf(name);
      expect(text).toBeDefined();
      const told = longFlagsIn(text ?? "");
      const { options } = command;
      const shown = options.filter(({ hidden }) => !hidden).map(({ long }) => long);
      if (name !== "varve snapshot restore") {
        expect(told).toEqual(expect.arrayContaining(shown));
      }
      const global = tree.options.map(({ long }) => long);
      const known = [...options.map(({ long }) => long), ...global, "--help"];
      expect(told.filter((flag) => !known.includes(flag))).toEqual([]);
    },
  );

  test("the aliases of every command", () => {
    for (const { name, command } of commands) {
      const group = new RegExp(`^## ${command.name()}\n([^]*?)^##`, "m").exec(CLI)?.[1];
      for (const alias of command.aliases()) {
        expect({ name, text: sectionOf(name) ?? group }).toMatchObject({
          text: expect.stringContaining(`\`${alias}\``),
        });
      }
    }
  });

  test("every global flag and every environment variable", () => {
    const flags = tree.options.map(({ long }) => long ?? "");
    expect(flags.filter((flag) => !CLI.includes(flag))).toEqual([]);
    for (const name of ["PASSWORD", "NEW_PASSWORD", "CONFIG_PATH", "DEBUG", "CACHE_DIRECTORY"]) {
      expect(CLI).toContain(`VARVE_${name}`);
    }
  });
});

/** Groups of one chapter whose commands have a section each. */
const BELOW = ["varve manifest", "varve content", "varve blob", "varve index"];

const lines = ["docs/cli.md", "README.md"].flatMap((name) =>
  Array.from(document(name).matchAll(/^```sh\n([^]*?)^```/gm), ([, block = ""]) => block)
    .flatMap((block) => block.split("\n"))
    .filter((line) => line.startsWith("varve "))
    .map((line) => ({ name, line })),
);

/** As a shell would; placeholders like `<manifest id>` are one word. */
function wordsOf(line: string): string[] {
  const command = line.replace(/\s+#.*$/, "");
  return Array.from(command.matchAll(/(?:"[^"]*"|'[^']*'|<[^>]*>|[^\s"'<])+/g), ([word]) =>
    word.replaceAll(/["']/g, ""),
  );
}

test("there are examples to check", () => {
  expect(new Set(lines.map(({ name }) => name))).toEqual(new Set(["docs/cli.md", "README.md"]));
});

test.each(lines)("$name: the parser takes `$line`", async ({ line }) => {
  const program = await loadWholeProgram();
  let taken: readonly string[] | undefined;
  for (const { command } of commandsBelow(program, "varve")) {
    if (command.commands.length === 0) {
      command.action(() => {
        taken = command.args;
      });
    }
  }
  await program.parseAsync(wordsOf(line).slice(1), { from: "user" });
  expect(taken).toBeDefined();
});

test("docs/cli.md: every line of the walk-through does what it says", () => {
  const [, script] = /<!-- test: walkthrough -->\n```sh\n([^]*?)```/.exec(CLI) ?? [];
  expect(script?.split("\n").length).toBeGreaterThan(10);
  const home = mkdtempSync(join(tmpdir(), "varve-docs-"));
  try {
    mkdirSync(join(home, "bin"));
    const varve = `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`;
    writeFileSync(join(home, "bin/varve"), varve, { mode: 0o755 });
    // -e ends it at the first line that fails, and -x says which one that was
    const { status, stdout, stderr } = spawnSync("sh", ["-ex"], {
      cwd: home,
      env: { HOME: home, PATH: `${join(home, "bin")}:${process.env["PATH"] ?? ""}` },
      input: script,
      encoding: "utf8",
    });
    expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("first words\nlast words\n");
    expect(stdout).toContain("no damage found");
  } finally {
    rmSync(home, { recursive: true });
  }
});
