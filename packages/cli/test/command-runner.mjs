/**
 * Runs command lines of the built program one after another, as its parent asks: loading the program anew for each of them
 * takes longer than most of them do.
 */
const { runProgram } = await import("../dist/program.js");

/** @param {"stdout" | "stderr"} name */
function capture(name) {
  /** @type {Uint8Array[]} */
  const parts = [];
  const stream = process[name];
  stream.write = /** @type {typeof stream.write} */ (
    (part, encoding, done) => {
      parts.push(typeof part === "string" ? Buffer.from(part) : Buffer.from(part));
      const callback = typeof encoding === "function" ? encoding : done;
      callback?.();
      return true;
    }
  );
  return () => {
    Reflect.deleteProperty(stream, "write"); // the prototype's is the real one
    return Buffer.concat(parts).toString("base64");
  };
}

/** @param {readonly string[]} args */
async function answer(args) {
  const endOutput = capture("stdout");
  const endErrors = capture("stderr");
  process.exitCode = undefined;
  const status = await runProgram(args);
  process.send?.({ status, stdout: endOutput(), stderr: endErrors() });
}

process.on("message", (/** @type {readonly string[]} */ args) => void answer(args));
