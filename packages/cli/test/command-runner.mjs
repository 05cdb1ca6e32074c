/**
 * Runs command lines of the built program one after another, as its parent asks: loading the program anew for each of them
 * takes longer than most of them do.
 */
const { runProgram } = await import("../dist/program.js");

/** @param {"stdout" | "stderr"} name */
function capture(name) {
  /** @type {Uint8Array[]} */
  const parts = [];
  const original = process[name].write;
  process[name].write = /** @type {typeof original} */ (
    (part, encoding, done) => {
      parts.push(typeof part === "string" ? Buffer.from(part) : Buffer.from(part));
      const callback = typeof encoding === "function" ? encoding : done;
      callback?.();
      return true;
    }
  );
  return () => {
    process[name].write = original;
    return Buffer.concat(parts).toString("base64");
  };
}

process.on("message", async (/** @type {readonly string[]} */ args) => {
  const endOutput = capture("stdout");
  const endErrors = capture("stderr");
  process.exitCode = undefined;
  const status = await runProgram(args);
  process.send?.({ status, stdout: endOutput(), stderr: endErrors() });
});
