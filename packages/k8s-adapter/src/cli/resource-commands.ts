import { type Command, Option } from "commander";
import type { ResourceRef } from "../kube/kube-api.ts";
import { openCliContext } from "./context.ts";
import { type Column, type OutputFormat, printResources } from "./print.ts";

/** `get` and `describe`, which are alike for every kind. */
export function addReadCommands(
  group: Command,
  {
    type,
    columns,
    noun,
  }: { readonly type: ResourceRef; readonly columns: readonly Column[]; readonly noun: string },
): void {
  group
    .command("get [names...]")
    .description(`list ${noun}`)
    .addOption(
      new Option("-o, --output <format>", "how")
        .choices(["table", "yaml", "json"])
        .default("table"),
    )
    .action(async (names: string[], { output }: { output: OutputFormat }, command: Command) => {
      using context = openCliContext(command);
      await printResources(context, type, { names, columns, output });
    });
  group
    .command("describe <names...>")
    .description(`everything that the server tells of ${noun}`)
    .action(async (names: string[], _options: object, command: Command) => {
      using context = openCliContext(command);
      for (const name of names) {
        await printResources(context, type, { names: [name], columns, output: "yaml" });
      }
    });
}
