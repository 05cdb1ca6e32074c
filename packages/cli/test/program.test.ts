import { afterAll, beforeAll, expect, test } from "vitest";
import { Cli } from "./cli-fixture.ts";

let cli: Cli;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository();
});

afterAll(() => cli[Symbol.dispose]());

test("the value of an option before the command is not taken for the command", async () => {
  const connect = ["repository", "connect", "filesystem", "--path", cli.path("repo")];
  await cli.ok(["--config-file", "policy", ...connect]);
  const manifests = ["manifest", "list", "--json"];
  const wanted = await cli.ok(manifests);
  for (const before of [
    ["--config-file", "policy"],
    ["--config-file=policy", "--no-progress"],
    ["--no-progress", "-p", "correct horse battery", "--config-file", "policy"],
  ]) {
    expect(await cli.ok([...before, ...manifests])).toBe(wanted);
  }
  expect(await cli.ok([...manifests, "--config-file", "policy"])).toBe(wanted);
});

test.each([
  [["help"], /^Usage: varve \[options\] \[command\][^]*\n {2}snapshot\|snap /],
  [["--help"], /^Usage: varve \[options\] \[command\][^]*\n {2}snapshot\|snap /],
  [["help", "snapshot"], /^Usage: varve snapshot\|snap [^]*\n {2}create /],
  [["snapshot", "--help"], /^Usage: varve snapshot\|snap [^]*\n {2}create /],
  [["-p", "policy", "help", "snap"], /^Usage: varve snapshot\|snap [^]*\n {2}create /],
  [["help", "snapshot", "create"], /^Usage: varve snapshot create [^]*\n {2}--fail-fast /],
  [["snapshot", "create", "--help"], /^Usage: varve snapshot create [^]*\n {2}--fail-fast /],
  [["snapshot", "help", "create"], /^Usage: varve snapshot create [^]*\n {2}--fail-fast /],
  [["help", "repo", "create", "filesystem"], /^Usage: varve repository create filesystem /],
])("varve %j is help on standard output and status 0", async (args, text) => {
  const { status, stdout, stderr } = await cli.run(args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(text);
});

test.each([
  [["nonsense"], /^varve: unknown command 'nonsense'$/m],
  [["snapshto"], /^varve: unknown command 'snapshto'\n\(Did you mean snapshot\?\)$/m],
  [["snapshot", "nonsense"], /^varve: unknown command 'nonsense'$/m],
  [["help", "nonsense"], /^varve: unknown command 'nonsense'$/m],
  [["help", "snapshot", "nonsense"], /^varve: unknown command 'nonsense'$/m],
  [["snapshot", "list", "--nonsense"], /^varve: unknown option '--nonsense'$/m],
  [["--config-file"], /^varve: option '--config-file <path>' argument missing$/m],
  [["restore"], /^varve: missing required argument 'source'$/m],
  [["manifest", "list", "too-much"], /^varve: too many arguments for 'list'/m],
  [["snapshot"], /^Usage: varve snapshot/],
  [[], /^Usage: varve/],
])("varve %j is no command line: a message on standard error and status 2", async (args, text) => {
  const { status, stdout, stderr } = await cli.run(args);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toMatch(text);
});
