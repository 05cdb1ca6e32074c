#!/usr/bin/env node
import { setMaxListeners } from "node:events";
import { keepYoungFew } from "./ceiling.ts";
import { runProgram } from "./program.ts";

// One signal ends every call in flight; that there are more than ten of them is no leak.
setMaxListeners(0);

// A reader that has seen enough (`varve ls | head`) is no reason for a stack trace.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") {
    throw error;
  }
  process.exit();
});

keepYoungFew();

async function main(): Promise<void> {
  process.exitCode = await runProgram(process.argv.slice(2));
}

void main();
