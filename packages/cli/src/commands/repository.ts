import type { Command } from "commander";
import { addStorageCommands } from "../storage-commands.ts";
import {
  addConnectOptions,
  addCreateOptions,
  connect,
  create,
  disconnect,
} from "./repository-connect.ts";
import {
  addParameterOptions,
  changeRepositoryPassword,
  changeParameters,
} from "./repository-change.ts";
import {
  addSyncOptions,
  addValidateOptions,
  syncTo,
  validateProvider,
} from "./repository-store.ts";
import { addClientOptions, setClient } from "./repository-client.ts";
import { addRepairOptions, repair } from "./repository-repair.ts";
import { status } from "./repository-status.ts";
import { throttleCommands } from "./repository-throttle.ts";

/** `varve repository …`. */
export function repositoryCommands(repository: Command): void {
  addStorageCommands(repository.command("create").description("make a new repository"), {
    description: "make a new repository in {}",
    addOptions: addCreateOptions,
    action: create,
  });
  addStorageCommands(repository.command("connect").description("use a repository that exists"), {
    description: "use the repository in {}",
    addOptions: addConnectOptions,
    action: connect,
  });
  repository
    .command("disconnect")
    .description("forget which repository is used, and its password if it was kept")
    .action(async (_options, command: Command) => disconnect(command));
  repository
    .command("status")
    .description("show which repository is used and how it stores data")
    .option("-t, --reconnect-token", "print what connects another machine, without secrets")
    .option("-s, --reconnect-token-with-password", "the same with password and keys")
    .option("--json", "print one JSON document")
    .action(async (_options, command: Command) => status(command));
  repository
    .command("change-password")
    .description("change the password; the data is not encrypted anew")
    .option("--new-password <password>", "prefer VARVE_NEW_PASSWORD, a file or the prompt")
    .option("--new-password-file <path>", "read the new password from this file")
    .action(async (_options, command: Command) => changeRepositoryPassword(command));
  throttleCommands(
    repository.command("throttle").description("how fast storage may be asked by this connection"),
  );
  const client = repository
    .command("set-client")
    .description("change how this machine uses the repository")
    .action(async (_options, command: Command) => setClient(command));
  addClientOptions(client);
  const setParameters = repository
    .command("set-parameters")
    .description("change how new data is stored")
    .action(async (_options, command: Command) => changeParameters(command));
  addParameterOptions(setParameters);
  const validate = repository
    .command("validate-provider")
    .description("test whether the storage does what a repository needs")
    .action(async (_options, command: Command) => validateProvider(command));
  addValidateOptions(validate);
  addStorageCommands(
    repository.command("repair").description("put a lost or damaged format blob back"),
    {
      description: "put the format blob back in {}",
      addOptions: addRepairOptions,
      action: repair,
    },
  );
  addStorageCommands(
    repository.command("sync-to").description("mirror the repository to another place"),
    { description: "mirror the repository to {}", addOptions: addSyncOptions, action: syncTo },
  );
}
